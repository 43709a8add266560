// The output delta. `delta_of` is the text that texts.py makes from an activation and a cost.
KERNEL(output_delta) {  // a, y, scale, v, delta, rows, columns, parameters
    const T* __restrict__ a = array<const T>(s[0]);
    const T* __restrict__ y = array<const T>(s[1]);
    const T* __restrict__ scale = array<const T>(s[2]);
    const T* __restrict__ v = array<const T>(s[3]);
    T* __restrict__ delta = array<T>(s[4]);
    const int64_t columns = s[6].integer;
    const Parameters<T> parameters(s[7]);
    for (int64_t i = 0; i < s[5].integer; ++i)
        for (int64_t j = 0; j < columns; ++j) {
            const int64_t k = i * columns + j;
            delta[k] = delta_of(a[k], y[k], scale[i], v[k], parameters);
        }
}

// δ of the numbers behind the last row is 0, so they change no gradient.
KERNEL(columns_output_delta) {  // a, y, scale, v, delta, rows, columns, leading, parameters
    const T* __restrict__ a = array<const T>(s[0]);
    const T* __restrict__ y = array<const T>(s[1]);
    const T* __restrict__ scale = array<const T>(s[2]);
    const T* __restrict__ v = array<const T>(s[3]);
    T* __restrict__ delta = array<T>(s[4]);
    const int64_t rows = s[5].integer, leading = s[7].integer;
    const Parameters<T> parameters(s[8]);
    for (int64_t j = 0; j < s[6].integer; ++j, a += leading, y += leading, v += leading, delta += leading) {
        for (int64_t i = 0; i < rows; ++i) delta[i] = delta_of(a[i], y[i], scale[i], v[i], parameters);
        for (int64_t i = rows; i < padded<T>(rows); ++i) delta[i] = 0;
    }
}
