// Column sums: out[chunk][column] = beta * out[chunk][column] + sum over the chunk's rows of in[row][column].
//
// grid (ceil(columns / 32), chunks), block (32, 8). A thread adds every eighth row of its chunk, so that
// a warp reads 32 neighbouring columns at once, and the eight partial sums meet in shared memory. The
// launcher runs it twice: rows into chunks in double, then the chunks into `out`. No atomics: the order
// of the additions is fixed, and so are the bits.
extern "C" __global__ void column_sums(const INPUT* __restrict__ in, OUTPUT* out, double beta, int rows,
                                       int columns, int chunk_rows) {
    __shared__ double partial[8][33];
    const int column = blockIdx.x * 32 + threadIdx.x;
    const int first = blockIdx.y * chunk_rows;
    const int end = first + chunk_rows < rows ? first + chunk_rows : rows;
    double sum = 0;
    if (column < columns)
        for (int row = first + threadIdx.y; row < end; row += 8)
            sum += compute(in[(size_t)row * columns + column]);
    partial[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && column < columns) {
        for (int k = 1; k < 8; ++k) sum += partial[k][threadIdx.x];
        OUTPUT* target = out + (size_t)blockIdx.y * columns + column;
        *target = OUTPUT(beta == 0 ? sum : sum + beta * double(*target));
    }
}
