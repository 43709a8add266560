// Softmax of each row: a[row][j] = exp(z[row][j] - m) / sum_k exp(z[row][k] - m), where m is the row's
// largest z. `a` may be `z`.
//
// One warp a row: grid ceil(rows / 8), block (32, 8).
extern "C" __global__ void softmax(const T* z, T* a, int rows, int columns) {
    const int row = blockIdx.x * 8 + threadIdx.y;
    if (row >= rows) return;  // true for a whole warp or for none of it
    z += (size_t)row * columns;
    a += (size_t)row * columns;
    auto largest = compute(z[0]);
    for (int j = threadIdx.x; j < columns; j += 32) largest = max(largest, compute(z[j]));
    for (int k = 16; k > 0; k /= 2) largest = max(largest, __shfl_xor_sync(0xffffffff, largest, k));
    auto sum = largest - largest;
    for (int j = threadIdx.x; j < columns; j += 32) sum += exp(compute(z[j]) - largest);
    for (int k = 16; k > 0; k /= 2) sum += __shfl_xor_sync(0xffffffff, sum, k);
    for (int j = threadIdx.x; j < columns; j += 32) a[j] = T(exp(compute(z[j]) - largest) / sum);
}
