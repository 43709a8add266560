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
