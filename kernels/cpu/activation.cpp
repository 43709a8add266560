// The elementwise kernels of a layer. `activation` and `derivative` are the text of a table entry.
KERNEL(bias_activate) {  // z, biases (null: none), a, rows, columns, whether a is z, parameters
    T* z = array<T>(s[0]);
    const T* __restrict__ biases = array<const T>(s[1]);
    T* a = array<T>(s[2]);
    const int64_t columns = s[4].integer;
    const Parameters<T> parameters(s[6]);
    for (int64_t i = 0; i < s[3].integer; ++i, z += columns, a += columns) {
        T* __restrict__ row = z;
        if (biases)
            for (int64_t j = 0; j < columns; ++j) row[j] += biases[j];
        if (s[5].integer)
            for (int64_t j = 0; j < columns; ++j) row[j] = activation(row[j], parameters);
        else {
            T* __restrict__ target = a;
            for (int64_t j = 0; j < columns; ++j) target[j] = activation(row[j], parameters);
        }
    }
}

KERNEL(multiply_by_derivative) {  // v, delta, n, parameters
    const T* __restrict__ v = array<const T>(s[0]);
    T* __restrict__ delta = array<T>(s[1]);
    const Parameters<T> parameters(s[3]);
    for (int64_t i = 0; i < s[2].integer; ++i) delta[i] *= derivative(v[i], parameters);
}

KERNEL(columns_activate) {  // z, a, rows, columns, leading, parameters; `a` may be `z`
    const T* z = array<T>(s[0]);
    T* a = array<T>(s[1]);
    const int64_t leading = s[4].integer;
    const auto [columns, length] = columns_without_gaps<T>(s[2].integer, s[3].integer, leading);
    const Parameters<T> parameters(s[5]);
    for (int64_t j = 0; j < columns; ++j, z += leading, a += leading)
        if (z == a)
            for (int64_t i = 0; i < length; ++i) a[i] = activation(a[i], parameters);
        else {
            T* __restrict__ target = a;
            for (int64_t i = 0; i < length; ++i) target[i] = activation(z[i], parameters);
        }
}

KERNEL(columns_derivative) {  // v, delta, rows, columns, leading, parameters
    const T* __restrict__ v = array<const T>(s[0]);
    T* __restrict__ delta = array<T>(s[1]);
    const int64_t leading = s[4].integer;
    const auto [columns, length] = columns_without_gaps<T>(s[2].integer, s[3].integer, leading);
    const Parameters<T> parameters(s[5]);
    for (int64_t j = 0; j < columns; ++j, v += leading, delta += leading)
        for (int64_t i = 0; i < length; ++i) delta[i] *= derivative(v[i], parameters);
}
