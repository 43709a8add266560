// Types narrower than float. They do not use CUDA's headers, because NVRTC does not always find these. Both
// round to the nearest, ties to even.
struct Half {
    unsigned short bits;
    Half() = default;
    __device__ __forceinline__ Half(float x) {
#ifdef __CUDACC__
        asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
#else  // the tests' emulation
        const _Float16 rounded = x;
        memcpy(&bits, &rounded, 2);
#endif
    }
};
__device__ __forceinline__ float compute(Half x) {
#ifdef __CUDACC__
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
    return wide;
#else
    _Float16 narrow;
    memcpy(&narrow, &x.bits, 2);
    return narrow;
#endif
}

struct BFloat {
    unsigned short bits;
    BFloat() = default;
    __device__ __forceinline__ BFloat(float x) {
        const unsigned int wide = __float_as_uint(x);
        bits = x == x ? (wide + 0x7fff + (wide >> 16 & 1)) >> 16 : wide >> 16 | 0x40;
    }
};
__device__ __forceinline__ float compute(BFloat x) { return __uint_as_float((unsigned int)x.bits << 16); }
