// Elementary functions without branches, tables or calls. A compiler makes vectors of a loop around them,
// of any width: exp, expm1, log, log1p, tanh, erf, erfc, sin and cos, for float and for double.
//
// Results are within 4 units in the last place, those of sin and cos up to a limit, and NaN stays NaN.
// Results of exp and erfc that are smaller than a normal number are 0, and log takes such numbers to be 0.
// The numbers of the polynomials are from Remez's algorithm with 50 digits; "error" is the relative error of
// the function that the polynomial alone would cause.
//
// The compiler may reassociate sums (compiler.py), which would destroy what rounding is used for here. A
// fused multiply-add keeps its rounding. Where the processor has none, `keep` hides a number from the
// compiler.
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
    static constexpr float LEAST = 1.17549435e-38f;  // the smallest normal number
    static constexpr float LN2_HIGH = 0.693145751953125f, LN2_LOW = 1.4286068203094172e-06f;
};
template <> struct Real<double> {
    typedef uint64_t Bits;
    static constexpr int MANTISSA = 52;
    static constexpr Bits BIAS = 1023, SIGN = 0x8000000000000000u, HIGH_HALF = 0xfffffffff8000000u;
    static constexpr double LEAST = 2.2250738585072014e-308;
    static constexpr double LN2_HIGH = 0.6931471805601177, LN2_LOW = -1.7239444525614835e-13;
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
INLINE float fused(float a, float b, float c) {
    EXACT
    return HAS_FMA ? __builtin_fmaf(a, b, c) : a * b + c;
}
INLINE double fused(double a, double b, double c) {
    EXACT
    return HAS_FMA ? __builtin_fma(a, b, c) : a * b + c;
}

// Returns x, which no sum is then joined with. `positive` is any number without a sign, as only we know.
template <typename T> INLINE T keep(T x, T positive) {
    return HAS_FMA ? x : from_bits<T>(bits_of(x) | (bits_of(positive) & Real<T>::SIGN));
}

template <typename T> INLINE T horner(T, T last) { return last; }
template <typename T, typename... More> INLINE T horner(T x, T first, T second, More... more) {
    return first + x * horner(x, second, T(more)...);
}

template <typename T> constexpr T LN2 = T(0.6931471805599453);
template <typename T> constexpr T INFINITE = T(__builtin_inf());

// exp(x) = 2^n exp(r), with n = round(x / ln 2) and |r| <= ln(2) / 2.
template <typename T> struct PowerOfTwo {
    typedef Real<T> R;
    T n;
    BitsOf<T> shifted;  // its low bits are n + more + BIAS

    // For exp(times x). Adding a large number rounds to a whole number.
    template <int more = 0, int times = 1> INLINE PowerOfTwo of(T x) {
        EXACT
        constexpr T LARGE = T(BitsOf<T>(3) << (R::MANTISSA - 1)) + T(int(R::BIAS) + more);
        const T sum = fused(x, T(times * 1.4426950408889634), LARGE);
        const BitsOf<T> bits = bits_of(sum);
        // The exponent's bits are set already, but the compiler does not know.
        constexpr BitsOf<T> known = (R::BIAS + R::MANTISSA) << R::MANTISSA;
        return {(HAS_FMA ? sum : from_bits<T>(bits | known)) - LARGE, bits};
    }
    [[gnu::always_inline]] T scale() const { return from_bits<T>(shifted << R::MANTISSA); }  // 2^(n + more)
    [[gnu::always_inline]] T rest(T x, T less = T(0)) const {  // x - n ln 2 - less
        EXACT
        const T part = keep(fused(n, -R::LN2_HIGH, x), from_bits<T>(shifted));
        return __builtin_constant_p(less) ? fused(n, -R::LN2_LOW, part)
                                          : part - keep(fused(n, R::LN2_LOW, less), from_bits<T>(shifted));
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

// Adding to the exponent multiplies by 2^n. The last condition is one on 2x, because GCC would join two
// conditions on x in many instructions.
template <typename T> INLINE T exp_of(T x) {
    EXACT
    const T least = sizeof(T) == 4 ? T(-87.33654) : T(-708.3964185322641);
    const T most = sizeof(T) == 4 ? T(88.72283) : T(709.782712893384);
    const auto power = PowerOfTwo<T>::template of<-int(Real<T>::BIAS)>(x);
    const T p = T(1) + small_expm1(power.rest(x));
    T y = from_bits<T>(bits_of(p) + (power.shifted << Real<T>::MANTISSA));
    y = x < least ? T(0) : y;
    return T(2) * x <= T(2) * most ? y : x + INFINITE<T>;
}

// 2^n (exp(r) - 1) + (2^n - 1). Half of it is computed first, because 2^n may be too large by this factor.
template <typename T> INLINE T expm1_of(T x) {
    EXACT
    const T most = sizeof(T) == 4 ? T(89) : T(710);
    const auto power = PowerOfTwo<T>::template of<-1>(x);
    const T half = power.scale();
    T y = T(2) * fused(small_expm1(power.rest(x)), half, keep(half - T(0.5), half));
    y = x < T(-40) ? T(-1) : y;
    return T(2) * x > T(2) * most ? INFINITE<T> : y;
}

// (1 - p) / (1 + p), with p = exp(-2|x|) = 2^n exp(2r). One part of ln 2 is enough: if n is large, p is
// small. In double it is 1 - 2p / (1 + p) for |x| > 1/2: a derivative may need many digits of 1 - tanh(x)².
template <typename T> INLINE T tanh_of(T x) {
    EXACT
    const T negative = from_bits<T>(bits_of(x) | Real<T>::SIGN);
    const T a = negative < T(-20) ? T(-20) : negative;
    const auto power = PowerOfTwo<T>::template of<0, 2>(a);
    const T r = fused(power.n, T(-0.34657359027997264), a);
    const T e = small_expm1(T(2) * r), scale = power.scale();
    const bool far = sizeof(T) == 8 && a < T(-0.5);
    const T factor = far ? T(2) * scale : scale;
    const T part = fused(-e, factor, keep((far ? T(0) : T(1)) - factor, scale));
    const T quotient = part / fused(e, scale, keep(T(1) + scale, scale));
    return with_sign_of(far ? T(1) + quotient : quotient, x);
}

// log(1 + f) for 1/√2 <= 1 + f <= √2. In float f - f²/2 + f³ q(f), error 2^-25. In double, with
// s = f / (2 + f) and w = s², the series of 2 atanh(s) is f - s (f - w p(w)), error 2^-59.
INLINE float log_near_1(float f) {
    const float q = horner(f, 0.3333391f, -0.25001338f, 0.19963065f, -0.16577584f, 0.14914766f,
                           -0.14267491f, 0.087004486f);
    return f + f * f * (-0.5f + f * q);
}
INLINE double log_near_1(double f) {
    const double s = f / (2.0 + f), w = s * s;
    const double p = horner(w, 0.6666666666666734, 0.3999999999941468, 0.28571428742387356,
                            0.22222198573206375, 0.1818356432518203, 0.15314050572238017,
                            0.14795949530847985);
    return f - s * (f - w * p);
}

// n, where x = 2^n m with 1/√2 <= m < √2, for a positive normal number x.
template <typename T> struct Exponent {
    typedef Real<T> R;
    BitsOf<T> biased;  // n + BIAS

    INLINE Exponent of(T x) {
        // The bits of 1 less those of 1/√2.
        constexpr BitsOf<T> up = sizeof(T) == 4 ? BitsOf<T>(0x4afb0d) : BitsOf<T>(0x95f619980c433);
        return {(bits_of(x) + up) >> R::MANTISSA};
    }
    [[gnu::always_inline]] T n() const {
        constexpr T LARGE = T(BitsOf<T>(1) << R::MANTISSA);
        return from_bits<T>(biased | bits_of(LARGE)) - (LARGE + T(R::BIAS));
    }
};

// 1 + x = 2^n (1 + f), where f = x 2^-n + (2^-n - 1) is rounded once; if n is 0, it is x. The factor of 4
// keeps 2^-n normal.
template <typename T> INLINE T log1p_of(T x) {
    EXACT
    typedef Real<T> R;
    const auto exponent = Exponent<T>::of(T(1) + x);
    const T scale = from_bits<T>((2 * R::BIAS + 2 - exponent.biased) << R::MANTISSA);
    const T f = fused(T(0.25) * x, scale, keep(fused(T(0.25), scale, T(-1)), scale));
    const T y = fused(exponent.n(), LN2<T>, log_near_1(f));
    // Where 1 + x is not a positive number: -infinity at 0, NaN below it, else x.
    const T outside = x == T(-1) ? -INFINITE<T> : x < T(-1) ? T(__builtin_nan("")) : x;
    return x - x == T(0) && x > T(-1) ? y : outside;
}

// x = 2^n m, and m - 1 is exact. One condition is on 2x, because GCC would join two conditions on x in many
// instructions.
template <typename T> INLINE T log_of(T x) {
    EXACT
    typedef Real<T> R;
    const auto exponent = Exponent<T>::of(x);
    const T m = from_bits<T>(bits_of(x) - ((exponent.biased - R::BIAS) << R::MANTISSA));
    T y = fused(exponent.n(), LN2<T>, log_near_1(keep(m - T(1), m)));
    y = x < R::LEAST ? -INFINITE<T> : y;
    y = T(2) * x < T(0) ? T(__builtin_nan("")) : y;
    return x < INFINITE<T> ? y : x;
}

// exp(a²) erfc(a) for a >= 0 and divisor = 1 + a. Times the divisor, which leaves numbers from 0.57 to 1,
// it is a polynomial in t = (a - c) / (a + c). In float, c = 1 saves an operation, and the error is 2^-27 for
// a <= 9.2. In double, c = 3.5 saves terms, and the error is 2^-57 for a <= 26.6.
INLINE float scaled_erfc(float, float divisor) {
    const float inverse = 1.0f / divisor, t = 1.0f - 2.0f * inverse;
    const float p = horner(t, 0.85516715f, -0.23768085f, -0.0955564f, 0.013907058f, 0.025395595f,
                           0.009563613f, -0.0012238903f, -0.0037431621f, -0.0023487175f,
                           -0.00037897055f, 0.00057187444f, 0.00043447837f, 9.654323e-05f);
    return HAS_FMA ? p * inverse : p / divisor;  // without FMA there are more roundings; one less here
}
INLINE double scaled_erfc(double a, double divisor) {
    const double sum = a + 3.5;
    // With FMA, one division gives both quotients, and the second is made exact afterwards.
    double inverse = 1.0 / (HAS_FMA ? divisor * sum : sum);
    const double t = (a - 3.5) * (HAS_FMA ? divisor * inverse : inverse), u = t * t;
    const double even = horner(u, 0.6988214502400243, 0.11128744263401748, -0.010330895625574243,
                               -0.015923282446497444, -0.0019738174294598398, 0.0002281499583429227,
                               -1.4718756436626196e-05, 4.0692949107414425e-07, 6.905220141990425e-08,
                               -1.1909530236938883e-08, -1.9997939781126176e-09,
                               1.1426923302915133e-09);
    const double odd = horner(u, -0.21463711248519335, -0.03190971480563193, 0.021273196320897067,
                              0.007428546164409073, -6.856295938423277e-06, -6.309322376384372e-05,
                              1.1316726595671086e-05, -1.7233660815754994e-06, 2.7105630596367514e-07,
                              -4.3532221376279e-08, 5.230099937522383e-09);
    const double p = even + t * odd;
    if (!HAS_FMA) return p / divisor;
    inverse *= sum;
    const double quotient = p * inverse;
    return fused(fused(-divisor, quotient, p), inverse, quotient);
}

// erfc(a) for a >= 0. The exponent -a² has more digits than T: it is -h² - (a - h) (a + h), where h is a
// without the lower half of its digits, and h² is exact. Without FMA there are more roundings; what 1 + a
// has lost goes into the exponent.
template <typename T> INLINE T erfc_of_magnitude(T a) {
    EXACT
    const T h = from_bits<T>(bits_of(a) & Real<T>::HIGH_HALF);
    const auto power = PowerOfTwo<T>::of(-(a * a));
    const T scale = power.scale(), divisor = keep(T(1) + a, scale);
    T less = (a - h) * (a + h);
    if (!HAS_FMA) less += (a - keep(divisor - T(1), scale)) / divisor;
    const T r = power.rest(-(h * h), less);
    const T factor = scale * scaled_erfc(a, divisor);
    return a > (sizeof(T) == 4 ? T(9.19454) : T(26.54326)) ? T(0) : fused(small_expm1(r), factor, factor);
}

template <typename T> INLINE T erfc_of(T x) {
    const T y = erfc_of_magnitude(magnitude(x));
    return x < T(0) ? T(2) - y : y;
}

// x p(x²) for |x| <= 1. Errors 2^-29 and 2^-57.
INLINE float small_erf(float x) {
    return x * horner(x * x, 1.1283792f, -0.37612626f, 0.112835854f, -0.026853812f, 0.0051883277f,
                      -0.0008010194f, 7.853861e-05f);
}
INLINE double small_erf(double x) {
    return x * horner(x * x, 1.1283791670955126, -0.3761263890318352, 0.11283791670944185,
                      -0.02686617064311144, 0.005223977606118296, -0.0008548325929306829,
                      0.00012055293576686918, -1.4924712298094114e-05, 1.6447131524503547e-06,
                      -1.6206313408057644e-07, 1.37109789045861e-08, -7.779465729549996e-10);
}

template <typename T> INLINE T erf_of(T x) {
    const T a = magnitude(x);
    return a < T(1) ? small_erf(x) : with_sign_of(T(1) - erfc_of_magnitude(a), x);
}

// x - nπ, in parts of π. With FMA the first part leaves an exact rest: x and n times this part end at about
// the same digit. Without FMA the products have to be exact too, so the parts have fewer digits, too few in
// float. `sum` is any number without a sign, as only we know.
INLINE float less_multiple_of_pi(float x, float n, float sum) {
    EXACT
    if (HAS_FMA)
        return fused(n, 3.430249e-15f, fused(n, 8.742278e-08f, fused(n, -3.1415927f, x)));
    const double rest = keep(x - n * 3.1415926534682512, double(sum));
    return float(rest - n * 1.2154201013012384e-10);
}
INLINE double less_multiple_of_pi(double x, double n, double sum) {
    EXACT
    if (HAS_FMA)
        return fused(n, 2.9947698097183397e-33,
                     fused(n, -1.2246467991473532e-16, fused(n, -3.141592653589793, x)));
    double rest = keep(x - n * 3.141592651605606, sum);
    rest = keep(rest - n * 1.9841871479187034e-09, sum);
    rest = keep(rest - n * 1.144237741932715e-17, sum);
    return rest - n * 3.2892513872648515e-26;
}

// sin(r) for |r| <= 1.61 and 1.58, errors 2^-26 and 2^-56. The last digits of the numbers are chosen so that
// no result is larger than 1. At π/2 it is 1 in float, and the next smaller number in double.
INLINE float small_sin(float r) {
    EXACT
    const float u = r * r;
    const float third = HAS_FMA ? -0.000198062495f : -0.000198062146f;
    return fused(r * u, horner(u, -0.166666567f, 0.00833301619f, third, 2.59826243e-06f), r);
}
INLINE double small_sin(double r) {
    EXACT
    const double u = r * r;
    return fused(r * u, horner(u, -0.16666666666666666, 0.008333333333333177, -0.00019841269841204667,
                               2.755731921035438e-06, -2.5052106799672843e-08, 1.605893596278626e-10,
                               -7.642892454819176e-13, 2.720116256837747e-15), r);
}

// sin(x) or cos(x): ±sin(x - nπ), with the whole number n nearest to x / π, or for the cosine the nearest
// number that ends in 1/2. So one polynomial serves both, and results near 0 keep their digits.
//
// Up to |x| = 2e5 in float and 1e8 in double (1e12 with FMA) results are within 4 units in the last place,
// also those near 0. Beyond, the absolute error grows. Results stay between -1 and 1, and are 0 where x - nπ
// is no longer small. Infinity gives NaN.
template <bool is_cosine, typename T> INLINE T sine_or_cosine(T x) {
    EXACT
    typedef Real<T> R;
    // A sum with LARGE has so many binary digits after the point. For the cosine, the first of them becomes
    // 1 and the others 0, and LARGE is odd, which changes the sign.
    constexpr int DIGITS = !is_cosine ? 0 : sizeof(T) == 4 ? 6 : 8;
    constexpr BitsOf<T> ONE = 1, HALF = (ONE << DIGITS) / 2, BELOW = (ONE << DIGITS) - 1;
    constexpr T LARGE = T(3 * ONE << (R::MANTISSA - 1 - DIGITS)) + T(is_cosine);
    const T rounded = fused(x, T(0.3183098861837907), LARGE);
    const BitsOf<T> bits = bits_of(rounded);
    // The exponent's bits are set already, but the compiler does not know.
    constexpr BitsOf<T> known = (R::BIAS + R::MANTISSA - DIGITS) << R::MANTISSA;
    const T sum = is_cosine ? from_bits<T>((bits & ~BELOW) | HALF)
                            : HAS_FMA ? rounded : from_bits<T>(bits | known);
    const T r = less_multiple_of_pi(x, sum - LARGE, sum);
    const BitsOf<T> sign = (bits >> DIGITS) << (8 * sizeof(T) - 1);  // of the last digit before the point
    const T y = from_bits<T>(bits_of(small_sin(r)) ^ sign);
    return magnitude(r) < T(1.61) ? y : x - x;
}

#if defined(__AVX512F__) && HAS_FMA
// a / b, within 1 unit in the last place, for updates, which divide by a root: b is positive and of a normal
// size, or infinite, which gives 0. A processor's division unit computes the root, and would be busy twice as
// long. Subtracting the bits of b from a constant gives 1 / b within 13 %. Each step of Newton's method squares
// the error, and the last step corrects the quotient.
INLINE float quotient(float a, float b) {
    EXACT
    float inverse = from_bits<float>(0x7ef311c7u - bits_of(b));
    inverse = fused(inverse, fused(-b, inverse, 1.0f), inverse);
    inverse = fused(inverse, fused(-b, inverse, 1.0f), inverse);
    const float q = a * inverse;
    const float corrected = fused(fused(-b, q, a), inverse, q);
    return 1e30f < b ? a - a : corrected;
}
#endif

template <typename N> INLINE auto exp(N x) { return exp_of(RealOf<N>(x)); }
template <typename N> INLINE auto expm1(N x) { return expm1_of(RealOf<N>(x)); }
template <typename N> INLINE auto log1p(N x) { return log1p_of(RealOf<N>(x)); }
template <typename N> INLINE auto log(N x) { return log_of(RealOf<N>(x)); }
template <typename N> INLINE auto tanh(N x) { return tanh_of(RealOf<N>(x)); }
template <typename N> INLINE auto erf(N x) { return erf_of(RealOf<N>(x)); }
template <typename N> INLINE auto erfc(N x) { return erfc_of(RealOf<N>(x)); }
template <typename N> INLINE auto sin(N x) { return sine_or_cosine<false>(RealOf<N>(x)); }
template <typename N> INLINE auto cos(N x) { return sine_or_cosine<true>(RealOf<N>(x)); }
