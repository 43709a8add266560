// How an ElementwiseKernel reads and writes operands of matmuls. launch.py gives it the bits of a BFloat as an
// unsigned short, and those of a Half as a short: CuPy's float16 needs CUDA's headers (see narrow.cuh).
__device__ __forceinline__ float compute(short bits) {
    Half x;
    x.bits = bits;
    return compute(x);
}
__device__ __forceinline__ float compute(unsigned short bits) {
    BFloat x;
    x.bits = bits;
    return compute(x);
}

template <typename T> __device__ __forceinline__ void store(T& to, T value) { to = value; }
__device__ __forceinline__ void store(short& to, float value) { to = Half(value).bits; }
__device__ __forceinline__ void store(unsigned short& to, float value) { to = BFloat(value).bits; }
