// The elementwise kernels of a layer. `activation` and `derivative` are the text of a table entry.
KERNEL(bias_activate) {  // z, biases (null: none), a, rows, columns, whether a is z
    T* z = array<T>(s[0]);
    const T* __restrict__ biases = array<const T>(s[1]);
    T* a = array<T>(s[2]);
    const int64_t columns = s[4].integer;
    for (int64_t i = 0; i < s[3].integer; ++i, z += columns, a += columns) {
        T* __restrict__ row = z;
        if (biases)
            for (int64_t j = 0; j < columns; ++j) row[j] += biases[j];
        if (s[5].integer)
            for (int64_t j = 0; j < columns; ++j) row[j] = activation(row[j]);
        else {
            T* __restrict__ target = a;
            for (int64_t j = 0; j < columns; ++j) target[j] = activation(row[j]);
        }
    }
}

KERNEL(multiply_by_derivative) {  // v, delta, n
    const T* __restrict__ v = array<const T>(s[0]);
    T* __restrict__ delta = array<T>(s[1]);
    for (int64_t i = 0; i < s[2].integer; ++i) delta[i] *= derivative(v[i]);
}
