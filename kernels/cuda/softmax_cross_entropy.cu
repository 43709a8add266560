// The output delta and the cost of softmax with cross-entropy, from z, in one pass over each row:
//   delta[row][j] = (a_j - y_j) scale[row],  cost[row] = sum_j y_j (log(sum_k exp(z_k - m)) - (z_j - m)).
// delta or cost may be null. The cost is computed from z, because a loses digits near 0 and 1.
//
// One warp a row: grid ceil(rows / 8), block (32, 8).
extern "C" __global__ void softmax_cross_entropy(const T* __restrict__ z, const T* __restrict__ y,
                                                 const T* __restrict__ scale, T* delta, T* cost,
                                                 int rows, int columns) {
    const int row = blockIdx.x * 8 + threadIdx.y;
    if (row >= rows) return;  // true for a whole warp or for none of it
    const size_t first = (size_t)row * columns;
    z += first;
    y += first;
    auto largest = compute(z[0]);
    for (int j = threadIdx.x; j < columns; j += 32) largest = max(largest, compute(z[j]));
    for (int k = 16; k > 0; k /= 2) largest = max(largest, __shfl_xor_sync(0xffffffff, largest, k));
    auto sum = largest - largest;
    for (int j = threadIdx.x; j < columns; j += 32) sum += exp(compute(z[j]) - largest);
    for (int k = 16; k > 0; k /= 2) sum += __shfl_xor_sync(0xffffffff, sum, k);
    const auto log_sum = log(sum);
    auto total = largest - largest;
    for (int j = threadIdx.x; j < columns; j += 32) {
        const auto shifted = compute(z[j]) - largest;
        const auto target = compute(y[j]);
        if (delta) delta[first + j] = T((exp(shifted) / sum - target) * compute(scale[row]));
        total += target * (log_sum - shifted);
    }
    for (int k = 16; k > 0; k /= 2) total += __shfl_xor_sync(0xffffffff, total, k);
    if (cost && threadIdx.x == 0) cost[row] = T(total);
}
