// Multiplies delta by softmax's Jacobian, in place: delta[row][j] = a_j (g_j - sum_k g_k a_k), where delta
// holds g = dC/da at the start.
//
// One warp a row: grid ceil(rows / 8), block (32, 8).
extern "C" __global__ void softmax_jacobian(const T* __restrict__ a, T* delta, int rows, int columns) {
    const int row = blockIdx.x * 8 + threadIdx.y;
    if (row >= rows) return;  // true for a whole warp or for none of it
    a += (size_t)row * columns;
    delta += (size_t)row * columns;
    auto dot = compute(a[0]) - compute(a[0]);
    for (int j = threadIdx.x; j < columns; j += 32) dot += compute(delta[j]) * compute(a[j]);
    for (int k = 16; k > 0; k /= 2) dot += __shfl_xor_sync(0xffffffff, dot, k);
    for (int j = threadIdx.x; j < columns; j += 32)
        delta[j] = T(compute(a[j]) * (compute(delta[j]) - dot));
}
