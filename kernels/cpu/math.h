// Elementary functions without branches, tables or calls. A compiler makes vectors of a loop around them, of
// any width: exp, expm1, log, log1p, tanh, erf and erfc, for float and for double.
//
// Results are within 4 units in the last place, also where they are denormal, and NaN stays NaN. The numbers
// of the polynomials are from Remez's algorithm with 50 digits; "error" is the relative error of the
// function that the polynomial alone would cause.
//
// The compiler may reassociate sums (compiler.py), which would destroy what rounding is used for here. A fused
// multiply-add keeps its rounding. Where the processor has none, `keep` hides a number from the compiler.
#if defined(__FP_FAST_FMA) || defined(__FMA__) || defined(__aarch64__)
#define HAS_FMA 1
#else
#define HAS_FMA 0
#endif
#define INLINE [[gnu::always_inline]] static inline
#ifdef __clang__
#define EXACT _Pragma("clang fp reassociate(off)")
#else
#define EXACT
#endif

template <typename T> struct Real;
template <> struct Real<float> {
    typedef uint32_t Bits;
    static constexpr int MANTISSA = 23;
    static constexpr Bits BIAS = 127, SIGN = 0x80000000u, HIGH_HALF = 0xfffff000u;
    // ln 2 in two parts; whole numbers times the first one are exact.
    static constexpr float LN2_HIGH = 0.693145751953125f, LN2_LOW = 1.4286068203094172e-06f;
    static constexpr float SMALLEST_NORMAL = 0x1p-126f, LARGEST = 0x1.fffffep127f;
};
template <> struct Real<double> {
    typedef uint64_t Bits;
    static constexpr int MANTISSA = 52;
    static constexpr Bits BIAS = 1023, SIGN = 0x8000000000000000u, HIGH_HALF = 0xfffffffff8000000u;
    static constexpr double LN2_HIGH = 0.6931471805601177, LN2_LOW = -1.7239444525614835e-13;
    static constexpr double SMALLEST_NORMAL = 0x1p-1022, LARGEST = 0x1.fffffffffffffp1023;
};
// The type that a function of an N computes in: integers are numbers of type double.
template <typename N> using RealOf = std::conditional_t<std::is_same_v<N, float>, float, double>;
template <typename T> using BitsOf = typename Real<T>::Bits;

template <typename T> INLINE BitsOf<T> bits_of(T x) {
    BitsOf<T> bits;
    std::memcpy(&bits, &x, sizeof(T));
    return bits;
}

template <typename T> INLINE T from_bits(BitsOf<T> bits) {
    T x;
    std::memcpy(&x, &bits, sizeof(T));
    return x;
}

template <typename T> INLINE T magnitude(T x) { return from_bits<T>(bits_of(x) & ~Real<T>::SIGN); }

template <typename T> INLINE T with_sign_of(T positive, T x) {
    return from_bits<T>(bits_of(positive) | (bits_of(x) & Real<T>::SIGN));
}

// a b + c, rounded once where the processor can.
INLINE float fused(float a, float b, float c) { return HAS_FMA ? __builtin_fmaf(a, b, c) : a * b + c; }
INLINE double fused(double a, double b, double c) { return HAS_FMA ? __builtin_fma(a, b, c) : a * b + c; }

// Returns x, which no sum is then joined with. `positive` is any number without a sign, as only we know.
template <typename T> INLINE T keep(T x, T positive) {
    return HAS_FMA ? x : from_bits<T>(bits_of(x) | (bits_of(positive) & Real<T>::SIGN));
}

template <typename T> INLINE T horner(T, T last) { return last; }
template <typename T, typename... More> INLINE T horner(T x, T first, T second, More... more) {
    return first + x * horner(x, second, T(more)...);
}

// exp(x) = 2^n exp(r), with n = round(x / ln 2) and |r| <= ln(2) / 2.
template <typename T> struct PowerOfTwo {
    typedef Real<T> R;
    T n;
    BitsOf<T> biased;  // its low bits are n + 2 BIAS

    // Adding a large number rounds to a whole number.
    INLINE PowerOfTwo of(T x) {
        EXACT
        constexpr T LARGE = T(BitsOf<T>(3) << (R::MANTISSA - 1)) + T(2 * R::BIAS);
        const T sum = fused(x, T(1.4426950408889634), LARGE);
        const BitsOf<T> bits = bits_of(sum);
        // The exponent's bits are set already, but the compiler does not know.
        constexpr BitsOf<T> known = (R::BIAS + R::MANTISSA) << R::MANTISSA;
        return {(HAS_FMA ? sum : from_bits<T>(bits | known)) - LARGE, bits};
    }
    T scale(int more) const {  // 2^(n + more), which must be a normal number
        return from_bits<T>((biased - R::BIAS + BitsOf<T>(more)) << R::MANTISSA);
    }
    T half() const { return from_bits<T>((biased >> 1) << R::MANTISSA); }  // two factors of 2^n
    T other_half() const { return from_bits<T>((biased - (biased >> 1)) << R::MANTISSA); }
    T rest(T x) const {  // x - n ln 2
        EXACT
        return fused(n, -R::LN2_LOW, keep(fused(n, -R::LN2_HIGH, x), half()));
    }
};

// exp(r) - 1 = r + r² q(r) for |r| <= 0.35. Relative errors 2^-26 and 2^-55.
INLINE float small_expm1(float r) {
    return r + r * r * horner(r, 0.49999998f, 0.16666538f, 0.041667223f, 0.008367181f, 0.0013882396f);
}
INLINE double small_expm1(double r) {
    return r + r * r * horner(r, 0.5000000000000006, 0.16666666666666582, 0.04166666666656942,
                              0.008333333333394165, 0.0013888888934153012, 0.0001984126971154552,
                              2.480150198652906e-05, 2.755741111538426e-06, 2.7627402618069793e-07,
                              2.5053799108851965e-08);
}

template <typename T> INLINE T exp_of(T x) {
    EXACT
    const T most = sizeof(T) == 4 ? T(89) : T(710), least = sizeof(T) == 4 ? T(-104) : T(-746);
    x = most < x ? most : x;
    x = least > x ? least : x;
    const auto power = PowerOfTwo<T>::of(x);
    const T half = power.half();
    return keep(fused(small_expm1(power.rest(x)), half, half), half) * power.other_half();
}

// 2^n (exp(r) - 1) + (2^n - 1), from half of it: 2^n may be too large by that factor.
template <typename T> INLINE T expm1_of(T x) {
    EXACT
    const T most = sizeof(T) == 4 ? T(89) : T(710), least = sizeof(T) == 4 ? T(-20) : T(-40);
    x = most < x ? most : x;
    x = least > x ? least : x;
    const auto power = PowerOfTwo<T>::of(x);
    const T scale = power.scale(-1);
    return T(2) * fused(small_expm1(power.rest(x)), scale, keep(scale - T(0.5), scale));
}

// x P(x²) / Q(x²) for |x| <= 9.02, beyond which tanh is 1. Error 2^-25.5. All terms are positive.
INLINE float tanh_of(float x) {
    float a = magnitude(x);
    a = 9.02f < a ? 9.02f : a;
    const float u = a * a;
    const float p = horner(u, 0.99999998f, 0.1337971f, 0.0034940242f, 2.0583331e-05f, 1.3318874e-08f);
    const float q = horner(u, 1.0f, 0.46713025f, 0.025871037f, 0.00032830777f, 7.761936e-07f);
    const float y = a * p / q;
    return with_sign_of(1.0f < y ? 1.0f : y, x);
}

// -e / (e + 2), with e = exp(-2|x|) - 1.
INLINE double tanh_of(double x) {
    EXACT
    double a = -2.0 * magnitude(x);
    a = -40.0 > a ? -40.0 : a;
    const auto power = PowerOfTwo<double>::of(a);
    const double scale = power.scale(0);
    const double e = fused(small_expm1(power.rest(a)), scale, keep(scale - 1.0, scale));
    return with_sign_of(-e / (e + 2.0), x);
}

template <typename N> INLINE auto exp(N x) { return exp_of(RealOf<N>(x)); }
template <typename N> INLINE auto expm1(N x) { return expm1_of(RealOf<N>(x)); }
template <typename N> INLINE auto tanh(N x) { return tanh_of(RealOf<N>(x)); }
