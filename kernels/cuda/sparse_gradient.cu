// out[j][c] = Σ delta[i][j] x[i][c] over the rows i of a step + beta out[j][c]. The rows are found as in
// sparse_product.cu. D is the type of δ.
//
// grid (ceil(n_in / COLUMNS), n_out at most), block 32: a warp sums COLUMNS neighbouring columns of one
// output in shared memory, row after row, with one thread for each stored number. A row has no column twice,
// so no two threads add to one sum. No addition is atomic: the bits are the same in every run.
extern "C" __launch_bounds__(32) __global__
    void sparse_gradient(const T* __restrict__ values, const int* __restrict__ indices,
                         const long long* __restrict__ starts, const long long* __restrict__ counters,
                         const long long* __restrict__ order, long long stride, long long first,
                         const D* __restrict__ delta, T* out, double beta, long long rows, int n_out,
                         long long n_in) {
    __shared__ T sums[COLUMNS];
    __shared__ long long from[32], to[32];
    __shared__ T deltas[32];
    const int lane = threadIdx.x;
    const long long begin = counters[1] * stride + first;
    const long long first_column = (long long)blockIdx.x * COLUMNS;
    for (long long j = blockIdx.y; j < n_out; j += gridDim.y) {
        for (int c = lane; c < COLUMNS; c += 32) sums[c] = 0;
        for (long long i = 0; i < rows; i += 32) {
            // Each thread finds one row, so that the places of 32 rows are on their way at the same time.
            __syncthreads();
            const bool is_row = i + lane < rows;
            const long long place = begin + i + lane;
            const long long row = !is_row ? 0 : order ? order[place] : place;
            from[lane] = is_row ? starts[row] : 0;
            to[lane] = is_row ? starts[row + 1] : 0;
            deltas[lane] = is_row ? T(compute(delta[(i + lane) * n_out + j])) : T(0);
            for (int k = 0; k < 32; ++k) {
                __syncthreads();
                for (long long number = from[k] + lane; number < to[k]; number += 32) {
                    const long long column = indices[number] - first_column;
                    if (0 <= column && column < COLUMNS) sums[column] += values[number] * deltas[k];
                }
            }
        }
        __syncthreads();
        for (int c = lane; c < COLUMNS && first_column + c < n_in; c += 32) {
            T& written = out[j * n_in + first_column + c];
            written = beta == 0 ? sums[c] : sums[c] + T(beta) * written;
        }
        __syncthreads();
    }
}
