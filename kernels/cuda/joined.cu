// One product or two, and the mean cost of the batch, in one launch. None reads what another writes. `First`
// and `Second` have the products' constants and types (product.cuh); the two products read no common rows by
// an order. Launches take longer than small products, so what is independent is launched together.
//
// grid: the first product's blocks, then the second's, then one for the sum if SUMS; block 256. A product's
// blocks count across, then down, then along the parts of its inner dimension. A block's shared memory is
// that of its own part of the work.
union Memory {
    Product<First>::Memory first;
    Product<Second>::Memory second;
    double of_warps[8];
};

__device__ __forceinline__ Place place_of(unsigned int block, unsigned int across, unsigned int down,
                                          unsigned int parts) {
    return {block % across, block / across % down, block / across / down, across, down, parts};
}

// Adds the products of `costs` and `scale`, in double and in a fixed order, to *out.
template <typename T>
__device__ __forceinline__ void add_costs(double* of_warps, const T* costs, const T* scale, int count, double* out) {
    double sum = 0;
    for (int i = threadIdx.x; i < count; i += 256) sum += double(compute(costs[i])) * double(compute(scale[i]));
    for (int k = 16; k > 0; k /= 2) sum += __shfl_xor_sync(0xffffffff, sum, k);
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x > 0) return;
    for (int warp = 1; warp < 8; ++warp) sum += of_warps[warp];
    *out += sum;
}

extern "C" __launch_bounds__(256, 2) __global__
    void joined(const First::A* __restrict__ a1, const First::B* __restrict__ b1, First::C* out1,
                Product<First>::Sum* z1, const First::V* __restrict__ v1, Product<First>::Sum* biases1,
                Product<First>::Four* partial1, unsigned int* arrivals1, int rows1, int columns1, int inner1,
                int step1, double alpha1, double beta1, int across1, int down1, int parts1,
                const Second::A* __restrict__ a2, const Second::B* __restrict__ b2, Second::C* out2,
                Product<Second>::Sum* z2, const Second::V* __restrict__ v2, Product<Second>::Sum* biases2,
                Product<Second>::Four* partial2, unsigned int* arrivals2, int rows2, int columns2, int inner2,
                int step2, double alpha2, double beta2, int across2, int down2, int parts2,
                const long long* __restrict__ counters, const long long* __restrict__ order, long long stride,
                long long first_row, const Product<First>::Sum* __restrict__ costs,
                const Product<First>::Sum* __restrict__ scale, int count, double* mean) {
    __shared__ Memory memory;
    const unsigned int first = across1 * down1 * parts1, second = SECOND ? across2 * down2 * parts2 : 0;
    if (blockIdx.x < first) {
        Order rows = {order, 0};
        if (First::BY_ORDER) rows.begin = counters[1] * stride + first_row;
        Product<First>::run(memory.first, place_of(blockIdx.x, across1, down1, parts1), a1, b1, out1, z1, v1, biases1,
                            partial1, arrivals1, rows1, columns1, inner1, step1, alpha1, beta1, rows, Nothing());
    } else if (SECOND && blockIdx.x < first + second) {
        Product<Second>::run(memory.second, place_of(blockIdx.x - first, across2, down2, parts2), a2, b2, out2, z2,
                             v2, biases2, partial2, arrivals2, rows2, columns2, inner2, step2, alpha2, beta2, Order(),
                             Nothing());
    } else if (SUMS) {
        add_costs(memory.of_warps, costs, scale, count, mean + counters[1]);
    }
}
