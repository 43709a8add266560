// Column sums: out[chunk][column] = beta * out[chunk][column] + sum over the chunk's rows of in[row][column].
//
// grid (ceil(columns / 32), chunks), block (32, 32). A thread adds every 32nd row of its chunk, so that a warp
// reads 32 neighbouring columns at once; then the partial sums, in double, are turned around in shared
// memory, and each warp adds up one column. The launcher runs it twice where there are more chunks: rows into
// chunks, then the chunks into `out`. No atomics: the order of the additions is fixed, and so are the bits.
extern "C" __global__ void column_sums(const INPUT* __restrict__ in, OUTPUT* out, double beta, int rows,
                                       int columns, int chunk_rows) {
    __shared__ double partial[32][33];
    const int read = blockIdx.x * 32 + threadIdx.x, written = blockIdx.x * 32 + threadIdx.y;
    const int first = blockIdx.y * chunk_rows;
    const int end = first + chunk_rows < rows ? first + chunk_rows : rows;
    double sum = 0;
    if (read < columns)
        for (int row = first + threadIdx.y; row < end; row += 32)
            sum += compute(in[(size_t)row * columns + read]);
    partial[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    sum = partial[threadIdx.x][threadIdx.y];
    for (int k = 16; k > 0; k /= 2) sum += __shfl_xor_sync(0xffffffff, sum, k);
    if (threadIdx.x == 0 && written < columns) {
        OUTPUT* target = out + (size_t)blockIdx.y * columns + written;
        *target = OUTPUT(beta == 0 ? sum : sum + beta * double(*target));
    }
}
