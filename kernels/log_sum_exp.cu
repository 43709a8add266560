// Row-wise log-sum-exp: out[row] = m + log(sum_j exp(z[row][j] - m)), m the row's largest z.
//
// One warp a row: grid ceil(rows / 8), block (32, 8).
extern "C" __global__ void log_sum_exp(const T* __restrict__ z, T* out, int rows, int columns) {
    const int row = blockIdx.x * 8 + threadIdx.y;
    if (row >= rows) return;  // a whole warp leaves together
    z += (size_t)row * columns;
    auto largest = compute(z[0]);
    for (int j = threadIdx.x; j < columns; j += 32) largest = max(largest, compute(z[j]));
    for (int k = 16; k > 0; k /= 2) largest = max(largest, __shfl_xor_sync(0xffffffff, largest, k));
    auto sum = largest - largest;
    for (int j = threadIdx.x; j < columns; j += 32) sum += exp(compute(z[j]) - largest);
    for (int k = 16; k > 0; k /= 2) sum += __shfl_xor_sync(0xffffffff, sum, k);
    if (threadIdx.x == 0) out[row] = T(largest + log(sum));
}
