// out[*slot] (+)= sum_i weights[i] values[i], or the sum of squares without weights, in double.
//
// One block of 1024 threads, each adding every 1024th term: the order of the additions is fixed, and so
// are the bits. `slot` may be null (the first element).
extern "C" __global__ void weighted_sum(const T* __restrict__ values, const T* __restrict__ weights,
                                        double* out, const long long* slot, long long n, int add) {
    __shared__ double partial[32];
    double sum = 0;
    for (long long i = threadIdx.x; i < n; i += 1024) {
        const double value = compute(values[i]);
        sum += value * (weights ? double(compute(weights[i])) : value);
    }
    for (int k = 16; k > 0; k /= 2) sum += __shfl_xor_sync(0xffffffff, sum, k);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x < 32) {
        sum = partial[threadIdx.x];
        for (int k = 16; k > 0; k /= 2) sum += __shfl_xor_sync(0xffffffff, sum, k);
        if (threadIdx.x == 0) {
            double* target = out + (slot ? *slot : 0);
            *target = add ? *target + sum : sum;
        }
    }
}
