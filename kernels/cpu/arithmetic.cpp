// Sums of arrays, and the step counters.
KERNEL(add_bias) {  // z, biases, rows, columns
    T* __restrict__ z = array<T>(s[0]);
    const T* __restrict__ biases = array<const T>(s[1]);
    for (int64_t i = 0; i < s[2].integer; ++i, z += s[3].integer)
        for (int64_t j = 0; j < s[3].integer; ++j) z[j] += biases[j];
}

KERNEL(add) {  // values, out, n
    const T* __restrict__ values = array<const T>(s[0]);
    T* __restrict__ out = array<T>(s[1]);
    for (int64_t i = 0; i < s[2].integer; ++i) out[i] += values[i];
}

EXPORTED(void, advance)(const Slot* s) {
    array<int64_t>(s[0])[0] += 1;
    array<int64_t>(s[0])[1] += 1;
}
