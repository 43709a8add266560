// out[*slot + block] (+)= sum_i weights[i] values[i] over the block's segment, in double; without weights the
// sum of the values, or of their squares where `squares` is set.
//
// Blocks of 1024 threads, each thread adding every 1024th term of its block's segment: the order of the
// additions is fixed, and so are the bits. `slot` may be null (the first element). The launcher runs it once
// more over the blocks' sums where there is more than one block.
extern "C" __global__ void weighted_sum(const T* __restrict__ values, const T* __restrict__ weights,
                                        int squares, double* out, const long long* slot, long long n,
                                        long long segment, int add) {
    __shared__ double partial[32];
    const long long first = blockIdx.x * segment;
    const long long end = first + segment < n ? first + segment : n;
    double sum = 0;
    for (long long i = first + threadIdx.x; i < end; i += 1024) {
        const double value = compute(values[i]);
        sum += value * (weights ? double(compute(weights[i])) : squares ? value : 1.0);
    }
    for (int k = 16; k > 0; k /= 2) sum += __shfl_xor_sync(0xffffffff, sum, k);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x < 32) {
        sum = partial[threadIdx.x];
        for (int k = 16; k > 0; k /= 2) sum += __shfl_xor_sync(0xffffffff, sum, k);
        if (threadIdx.x == 0) {
            double* target = out + (slot ? *slot : 0) + blockIdx.x;
            *target = add ? *target + sum : sum;
        }
    }
}
