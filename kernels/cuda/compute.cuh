// Arithmetic is done in `compute`'s result type: a type narrower than float widens here and nowhere else.
__device__ __forceinline__ float compute(float x) { return x; }
__device__ __forceinline__ double compute(double x) { return x; }
