// Which variant of the kernels built ahead this processor can run. This file is compiled without any flag for
// a processor, because it runs before that is known.
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#if defined(__x86_64__)
// The registers that the system saves when it changes between programs: a processor may have wider vectors
// than the system.
static unsigned saved_registers() {
    unsigned low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

// The number of variants that can run, in the order of VARIANTS in ahead.py; 0 if not even the first one can.
static int runnable_variants() {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    const auto all = [](unsigned has, unsigned wanted) { return (has & wanted) == wanted; };
    if (!all(c, bit_SSSE3 | bit_SSE4_1 | bit_SSE4_2 | bit_POPCNT)) return 0;
    if (!all(c, bit_FMA | bit_AVX | bit_OSXSAVE | bit_F16C | bit_MOVBE)) return 1;
    const unsigned saved = saved_registers();
    if (!all(saved, 0x6)) return 1;  // xmm, ymm
    unsigned more = 0;
    if (!__get_cpuid(0x80000001, &a, &b, &more, &d) || !all(more, 1 << 5)) return 1;  // LZCNT
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !all(b, bit_AVX2 | bit_BMI | bit_BMI2)) return 1;
    // macOS saves the registers of AVX-512 from their first use on, so there this says 2.
    const unsigned wide = bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL;
    return all(b, wide) && all(saved, 0xe6) ? 3 : 2;  // and the registers of AVX-512
}
#else
static int runnable_variants() { return 1; }
#endif

EXPORTED(int, processor_variants)() { return runnable_variants(); }
