// out[part] = sum over the part's k of op(a)[row][k] op(b)[k][column], for small matrices; with one part, out =
// alpha times that + beta out. Arrays are dense: op(a) is a, (rows, inner), or with TRANSPOSE_A a's
// transpose; op(b) is b, (inner, columns), or b's transpose. A, B and C are the types of a, b and out.
//
// grid (ceil(columns / TILE), ceil(rows / TILE), parts), block 256. A block makes a TILE x TILE piece of out in
// steps of 16 along k, which pass through shared memory; a thread makes EACH x EACH of it in registers, every
// 16th row and column, so that neighbouring threads read neighbouring words. A part is `step` long; where
// there are several, add_parts.cu adds them up, in fixed order.
constexpr int STEP = 16, EACH = TILE / 16;

extern "C" __global__ void matmul(const A* __restrict__ a, const B* __restrict__ b, C* out, int rows,
                                  int columns, int inner, int step, double alpha, double beta) {
    typedef decltype(compute(C())) Sum;
    __shared__ Sum a_tile[STEP][TILE + 1], b_tile[STEP][TILE + 1];
    const int x = threadIdx.x % 16, y = threadIdx.x / 16;
    const int first_row = blockIdx.y * TILE, first_column = blockIdx.x * TILE;
    const int begin = blockIdx.z * step, end = begin + step < inner ? begin + step : inner;
    Sum sums[EACH][EACH] = {};
    for (int start = begin; start < end; start += STEP) {
        for (int i = threadIdx.x; i < TILE * STEP; i += 256) {
            // Neighbouring threads read neighbouring elements of memory, whichever way that runs.
            const int ak = TRANSPOSE_A ? i / TILE : i % STEP, row = TRANSPOSE_A ? i % TILE : i / STEP;
            const int bk = TRANSPOSE_B ? i % STEP : i / TILE, column = TRANSPOSE_B ? i / STEP : i % TILE;
            const size_t r = first_row + row, c = first_column + column;
            const size_t ka = start + ak, kb = start + bk;
            a_tile[ak][row] = r < rows && ka < end ? Sum(compute(a[TRANSPOSE_A ? ka * rows + r : r * inner + ka]))
                                                   : Sum(0);
            b_tile[bk][column] = c < columns && kb < end
                                     ? Sum(compute(b[TRANSPOSE_B ? c * inner + kb : kb * columns + c]))
                                     : Sum(0);
        }
        __syncthreads();
        for (int k = 0; k < STEP; ++k)
            for (int i = 0; i < EACH; ++i)
                for (int j = 0; j < EACH; ++j) sums[i][j] += a_tile[k][y + 16 * i] * b_tile[k][x + 16 * j];
        __syncthreads();
    }
    out += (size_t)blockIdx.z * rows * columns;
    for (int i = 0; i < EACH; ++i)
        for (int j = 0; j < EACH; ++j) {
            const int row = first_row + y + 16 * i, column = first_column + x + 16 * j;
            if (row < rows && column < columns) {
                C* target = out + (size_t)row * columns + column;
                const Sum product = Sum(alpha) * sums[i][j];
                *target = C(beta == 0 ? product : product + Sum(beta) * compute(*target));
            }
        }
}
