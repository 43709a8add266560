// out[*slot] = sum_i weights[i] values[i], in double, plus out[*slot] if `add`. Without WEIGHTED it is the
// sum of the values, or with SQUARES of their squares. If `slot` is null, the element is out[0].
//
// grid up to 264 (sums.py), block THREADS. A thread takes VECTOR neighbouring terms at once and has LOADS
// such loads in flight; all threads of the grid go over the array side by side. With several blocks, each
// writes its sum to `partial`, and the last block to arrive adds them. `arrivals` is zero before and after.
// The order of the additions depends only on the number of terms and of blocks, so the bits are always the
// same.
constexpr int LOADS = 4, WARPS = THREADS / 32;

__device__ __forceinline__ double term(T value, T weight) {
    const double wide = compute(value);
    return WEIGHTED ? wide * double(compute(weight)) : SQUARES ? wide * wide : wide;
}

// Adds over the block's threads; the first warp gets the sum.
__device__ __forceinline__ double over_block(double sum, double* of_warps) {
    for (int k = 16; k > 0; k /= 2) sum += __shfl_xor_sync(0xffffffff, sum, k);
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x < 32) {
        sum = threadIdx.x < WARPS ? of_warps[threadIdx.x] : 0;
        for (int k = 16; k > 0; k /= 2) sum += __shfl_xor_sync(0xffffffff, sum, k);
    }
    return sum;
}

extern "C" __launch_bounds__(THREADS, BLOCKS_AT_ONCE) __global__
    void weighted_sum(const T* __restrict__ values, const T* __restrict__ weights, double* out,
                      const long long* __restrict__ slot, long long n, int add, double* partial,
                      unsigned int* arrivals) {
    __shared__ double of_warps[WARPS];
    __shared__ bool last;
    const long long place = slot ? *slot : 0;
    const long long thread = (long long)blockIdx.x * THREADS + threadIdx.x, threads = (long long)gridDim.x * THREADS;
    const long long count = n / VECTOR;
    double sums[LOADS] = {};
#pragma unroll 1
    for (long long i = thread; i < count; i += LOADS * threads) {
        Vector<T> value[LOADS] = {}, weight[LOADS] = {};
        for (int k = 0; k < LOADS; ++k)
            if (i + k * threads < count) {
                value[k] = load(values + (i + k * threads) * VECTOR);
                if (WEIGHTED) weight[k] = load(weights + (i + k * threads) * VECTOR);
            }
        for (int k = 0; k < LOADS; ++k)
            for (int j = 0; j < VECTOR; ++j) sums[k] += term(value[k].value[j], weight[k].value[j]);
    }
    double sum = 0;
    for (int k = 0; k < LOADS; ++k) sum += sums[k];
    const long long rest = count * VECTOR + thread;
    if (rest < n) sum += term(values[rest], WEIGHTED ? weights[rest] : T(0));
    const double kept = add && threadIdx.x == 0 ? out[place] : 0;  // loaded while the threads wait for each other
    sum = over_block(sum, of_warps);

    if (gridDim.x > 1) {
        if (threadIdx.x == 0) {
            partial[blockIdx.x] = sum;
            last = arrive(arrivals) == gridDim.x - 1;
            if (last) *arrivals = 0;
        }
        __syncthreads();
        if (!last) return;
        sum = 0;
#pragma unroll 1
        for (unsigned int block = threadIdx.x; block < gridDim.x; block += THREADS) sum += __ldcg(&partial[block]);
        sum = over_block(sum, of_warps);
    }
    if (threadIdx.x == 0) out[place] = add ? kept + sum : sum;
}
