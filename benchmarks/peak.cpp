// The arithmetic peak of a thread: multiply-adds of vectors in registers, in chains that do not wait for
// each other. A processor starts two of them in a cycle (four of NEON's), and each takes about four cycles,
// so eight to sixteen chains keep it busy. The others make the loop's own instructions rare. There are at
// most as many chains as registers. vectors.h has the vectors.
constexpr int CHAINS = REGISTERS == 32 ? 24 : 12;

// Arguments: how often every chain goes on, its factor and what it adds, and where to write the mean of the
// chains' last numbers.
KERNEL(multiply_adds) {
    const int64_t times = s[0].integer;
    const Vector<T> factor = Vector<T>{} + T(s[1].real), added = Vector<T>{} + T(s[2].real);
    Vector<T> x[CHAINS];
    for (int k = 0; k < CHAINS; ++k) x[k] = Vector<T>{} + T(k);
    for (int64_t n = 0; n < times; ++n) {
#pragma GCC unroll 24
        for (int k = 0; k < CHAINS; ++k) x[k] = x[k] * factor + added;
    }
    T sum = 0;
    for (int k = 0; k < CHAINS; ++k)
        for (int lane = 0; lane < WIDTH<T>; ++lane) sum += x[k][lane];
    *array<T>(s[3]) = sum / (CHAINS * WIDTH<T>);
}

// The multiply-adds by which all chains together go on once.
EXPORTED(int64_t, multiply_adds_at_once_float)() { return CHAINS * WIDTH<float>; }
EXPORTED(int64_t, multiply_adds_at_once_double)() { return CHAINS * WIDTH<double>; }
