// The arithmetic peak of a thread: multiply-adds of vectors in registers, in chains that do not wait for
// each other. A processor starts two of them in a cycle (four of NEON's), and each takes about four cycles,
// so eight to sixteen chains keep it busy. The others make the loop's own instructions rare. There are at
// most as many chains as registers.
#if defined(__AVX512F__)
constexpr int BYTES = 64, CHAINS = 24;
#elif defined(__AVX__)
constexpr int BYTES = 32, CHAINS = 12;
#elif defined(__aarch64__)
constexpr int BYTES = 16, CHAINS = 24;
#else
constexpr int BYTES = 16, CHAINS = 12;
#endif

// Arguments: how often every chain goes on, its factor and what it adds, and where to write the mean of the
// chains' last numbers.
KERNEL(multiply_adds) {
    typedef T Vector __attribute__((vector_size(BYTES)));
    constexpr int LANES = BYTES / sizeof(T);
    const int64_t times = s[0].integer;
    const Vector factor = Vector{} + T(s[1].real), added = Vector{} + T(s[2].real);
    Vector x[CHAINS];
    for (int k = 0; k < CHAINS; ++k) x[k] = Vector{} + T(k);
    for (int64_t n = 0; n < times; ++n) {
#pragma GCC unroll 24
        for (int k = 0; k < CHAINS; ++k) x[k] = x[k] * factor + added;
    }
    T sum = 0;
    for (int k = 0; k < CHAINS; ++k)
        for (int lane = 0; lane < LANES; ++lane) sum += x[k][lane];
    *array<T>(s[3]) = sum / (CHAINS * LANES);
}

// The multiply-adds by which all chains together go on once.
extern "C" int64_t multiply_adds_at_once_float() { return CHAINS * BYTES / sizeof(float); }
extern "C" int64_t multiply_adds_at_once_double() { return CHAINS * BYTES / sizeof(double); }
