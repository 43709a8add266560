// Products of small matrices, and the mean cost of the batch, in one launch. None reads what another writes.
// Launches take longer than small products, so what is independent is launched together.
//
// Form<0>, Form<1>, ... have the constants and types of the FORMS kinds of products (product.cuh). With
// BY_ORDER, a form's products read the rows of x by an order.
//
// grid: the blocks of the first product, then those of the second, and so on, then one for the sum if SUMS;
// block 256. A product's blocks count across, then down, then along the parts of its inner dimension.

// What joined.py says of a product: the arguments of `Product::run`, the numbers of its pieces and parts, the
// number of blocks up to its last one, and its form.
struct Arguments {
    const void *a, *b, *v;
    void *out, *z, *biases, *partial;
    unsigned int* arrivals;
    double alpha, beta;
    int rows, columns, inner, step;
    unsigned int across, down, parts, end, form;
};
struct Joined { Arguments of[PRODUCTS]; };

// The bytes of shared memory that the largest form needs.
template <int K = 0> constexpr int most_memory() {
    int most = sizeof(typename Product<Form<K>>::Memory);
    if constexpr (K + 1 < FORMS)
        if (most_memory<K + 1>() > most) most = most_memory<K + 1>();
    return most;
}

template <int K = 0>
__device__ __forceinline__ void run(char* memory, const Arguments& p, unsigned int block, const Order& order) {
    typedef Product<Form<K>> P;
    if (FORMS == 1 || p.form == K) {
        const Place at = {block % p.across, block / p.across % p.down, block / p.across / p.down, p.across, p.down,
                          p.parts};
        P::run(*reinterpret_cast<typename P::Memory*>(memory), at, static_cast<const typename P::A*>(p.a),
               static_cast<const typename P::B*>(p.b), static_cast<typename P::C*>(p.out),
               static_cast<typename P::Sum*>(p.z), static_cast<const typename P::V*>(p.v),
               static_cast<typename P::Sum*>(p.biases), static_cast<typename P::Four*>(p.partial), p.arrivals, p.rows,
               p.columns, p.inner, p.step, p.alpha, p.beta, order, Nothing());
    } else if constexpr (K + 1 < FORMS) {
        run<K + 1>(memory, p, block, order);
    }
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

typedef Product<Form<0>>::Sum Sum;
constexpr int BLOCKS_AT_ONCE = sizeof(Sum) == 8 ? 1 : 2;  // doubles need more registers

extern "C" __launch_bounds__(256, BLOCKS_AT_ONCE) __global__
    void joined(const __grid_constant__ Joined list, const long long* __restrict__ counters,
                const long long* __restrict__ order, long long stride, long long first_row,
                const Sum* __restrict__ costs, const Sum* __restrict__ scale, int count, double* mean) {
    alignas(32) __shared__ char memory[most_memory()];
    int k = 0;
    while (k < PRODUCTS && blockIdx.x >= list.of[k].end) ++k;
    if (k < PRODUCTS) {
        Order rows = {order, 0};
        if (BY_ORDER) rows.begin = counters[1] * stride + first_row;
        run(memory, list.of[k], blockIdx.x - (k ? list.of[k - 1].end : 0), rows);
    } else if (SUMS) {
        add_costs(reinterpret_cast<double*>(memory), costs, scale, count, mean + counters[1]);
    }
}
