// Column sums: out[column] = sum over all rows of in[row][column] + beta out[column].
//
// grid (ceil(columns / COLUMNS), parts), block THREADS. A block adds up `part_rows` rows of COLUMNS
// neighbouring columns. A thread reads VECTOR columns of a row at once, so a warp reads whole sectors of 32
// bytes. Each thread has LOADS loads in flight.
//
// Order: a thread adds LOADS numbers in pairs, in Sum; their sum has three roundings at most. All further
// additions are in double. Shuffles add the sums of a warp's threads; then the sums of the warps are added
// through shared memory.
//
// With several parts, every block writes its sums to `partial`, (tiles, parts, COLUMNS), and the last of a
// tile's blocks to arrive adds them. `arrivals`, one for each tile, are zero before and after. The order of
// the additions does not depend on which block is last, so the bits are always the same.
constexpr int LOADS = 8, WARPS = THREADS / 32;
constexpr int ACROSS = COLUMNS / VECTOR, DOWN = THREADS / ACROSS;

template <int COUNT, typename Number> __device__ __forceinline__ Number in_pairs(Number* numbers) {
    for (int step = COUNT / 2; step > 0; step /= 2)
        for (int k = 0; k < step; ++k) numbers[k] += numbers[k + step];
    return numbers[0];
}

// Each thread has sums of SIZE neighbouring columns. Adds them over the block, and returns the sum of
// column threadIdx.x to each of the first COLUMNS threads.
template <int SIZE> __device__ __forceinline__ double over_block(double* sums, double (*of_warps)[COLUMNS]) {
    constexpr int WIDTH = COLUMNS / SIZE;
    for (int k = 16; k >= WIDTH; k /= 2)
        for (int j = 0; j < SIZE; ++j) sums[j] += __shfl_xor_sync(0xffffffff, sums[j], k);
    const int lane = threadIdx.x % 32;
    if (lane < WIDTH)
        for (int j = 0; j < SIZE; ++j) of_warps[threadIdx.x / 32][lane * SIZE + j] = sums[j];
    __syncthreads();
    if (threadIdx.x >= COLUMNS) return 0;
    double column[WARPS];
    for (int warp = 0; warp < WARPS; ++warp) column[warp] = of_warps[warp][threadIdx.x];
    return in_pairs<WARPS>(column);
}

extern "C" __launch_bounds__(THREADS, BLOCKS_AT_ONCE) __global__
    void column_sums(const INPUT* __restrict__ in, OUTPUT* out, double beta, unsigned int rows, int columns,
                     unsigned int part_rows, double* partial, unsigned int* arrivals) {
    typedef decltype(compute(INPUT())) Sum;
    __shared__ double of_warps[WARPS][COLUMNS];
    __shared__ bool last;
    const int read = blockIdx.x * COLUMNS + threadIdx.x % ACROSS * VECTOR;
    const int written = blockIdx.x * COLUMNS + threadIdx.x;
    const bool writes = threadIdx.x < COLUMNS && written < columns;
    const unsigned int first = blockIdx.y * part_rows, end = rows - first < part_rows ? rows : first + part_rows;
    double sums[VECTOR] = {};
    if (read < columns)
#pragma unroll 1  // one step's loads are enough in flight, and a short program is fetched sooner
        for (unsigned int row = first + threadIdx.x / ACROSS; row < end; row += LOADS * DOWN) {
            Vector<INPUT> values[LOADS] = {};
            for (int k = 0; k < LOADS; ++k)
                if (row + k * DOWN < end) values[k] = load(in + (size_t)(row + k * DOWN) * columns + read);
            for (int j = 0; j < VECTOR; ++j) {
                Sum column[LOADS];
                for (int k = 0; k < LOADS; ++k) column[k] = compute(values[k].value[j]);
                sums[j] += in_pairs<LOADS>(column);
            }
        }
    double sum = over_block<VECTOR>(sums, of_warps);

    if (gridDim.y > 1) {
        const unsigned int size = gridDim.y * COLUMNS;
        double* own = partial + (size_t)blockIdx.x * size;
        if (threadIdx.x < 32) {
            if (threadIdx.x < COLUMNS) own[blockIdx.y * COLUMNS + threadIdx.x] = sum;
            __syncwarp();
            if (threadIdx.x == 0) {
                last = arrive(&arrivals[blockIdx.x]) == gridDim.y - 1;
                if (last) arrivals[blockIdx.x] = 0;
            }
        }
        __syncthreads();
        if (!last) return;
        double total = 0;
#pragma unroll 1
        for (unsigned int at = threadIdx.x; at < size; at += 4 * THREADS) {
            double sums_of_parts[4] = {};
            for (int k = 0; k < 4; ++k)
                if (at + k * THREADS < size) sums_of_parts[k] = __ldcg(&own[at + k * THREADS]);
            total += in_pairs<4>(sums_of_parts);
        }
        sum = over_block<1>(&total, of_warps);
    }
    if (writes) out[written] = OUTPUT(beta == 0 ? sum : sum + beta * double(out[written]));
}
