// Dropout, with the random numbers of philox.cuh.
KERNEL(dropout) {  // x, out, counters, seed, layer, first, rate, scale, n
    const T* x = array<const T>(s[0]);
    T* out = array<T>(s[1]);
    const int64_t step = array<const int64_t>(s[2])[0];
    const float rate = float(s[6].real);
    const T scale = T(s[7].real);
    const int64_t first = s[5].integer, end = first + s[8].integer;
    for (int64_t position = first; position < end;) {
        unsigned long long words[4];
        philox(s[3].integer, step, s[4].integer, position / 8, words);
        const int64_t next = (position / 8 + 1) * 8 < end ? (position / 8 + 1) * 8 : end;
        for (; position < next; ++position)
            out[position - first] =
                philox_uniform(words, position) >= rate ? x[position - first] * scale : T(0);
    }
}

// What is behind the last row has its mask, because it repeats the row; in δ it stays 0.
KERNEL(columns_dropout) {  // x, out, counters, seed, layer, first, rate, scale, rows, columns, leading
    const T* x = array<T>(s[0]);
    T* out = array<T>(s[1]);
    const int64_t step = array<const int64_t>(s[2])[0];
    const float rate = float(s[6].real);
    const T scale = T(s[7].real);
    const int64_t rows = s[8].integer, columns = s[9].integer, leading = s[10].integer;
    int64_t position = s[5].integer, drawn = -1;
    unsigned long long words[4];
    for (int64_t i = 0; i < rows; ++i) {
        const int64_t end = i + 1 < rows ? i + 1 : padded<T>(rows);
        for (int64_t j = 0; j < columns; ++j, ++position) {
            if (position / 8 != drawn) philox(s[3].integer, step, s[4].integer, drawn = position / 8, words);
            const bool keeps = philox_uniform(words, position) >= rate;
            for (int64_t k = j * leading + i; k < j * leading + end; ++k) out[k] = keeps ? x[k] * scale : T(0);
        }
    }
}
