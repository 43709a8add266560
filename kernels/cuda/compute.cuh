// Arithmetic is done in the result type of `compute`. Types narrower than float are widened only here.
__device__ __forceinline__ float compute(float x) { return x; }
__device__ __forceinline__ double compute(double x) { return x; }
