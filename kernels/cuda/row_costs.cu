// The cost of each example: out[row] = sum_j cost(z[row][j], a[row][j], y[row][j]). `cost` is the text of
// the cost's table entry.
//
// One warp a row: grid ceil(rows / 8), block (32, 8).
extern "C" __global__ void row_costs(const T* z, const T* a, const T* __restrict__ y, T* out, int rows,
                                     int columns) {
    const int row = blockIdx.x * 8 + threadIdx.y;
    if (row >= rows) return;  // true for a whole warp or for none of it
    const size_t first = (size_t)row * columns;
    auto total = compute(a[first]) - compute(a[first]);
    for (size_t j = first + threadIdx.x; j < first + columns; j += 32)
        total += cost(compute(z[j]), compute(a[j]), compute(y[j]));
    for (int k = 16; k > 0; k /= 2) total += __shfl_xor_sync(0xffffffff, total, k);
    if (threadIdx.x == 0) out[row] = T(total);
}
