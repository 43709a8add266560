// out[i][j] = Σ x[i][c] w[j][c] over the stored numbers of row i, for i in the rows of a step: the row is
// order[k], or k if `order` is null, with k = counters[1] * stride + first + i. W is the weights' type.
//
// grid (ceil(n_out / blockDim.x), rows at most). A thread computes one output of a row; all threads of a
// block read the same numbers of the row.
extern "C" __global__ void sparse_product(const T* __restrict__ values, const int* __restrict__ indices,
                                          const long long* __restrict__ starts,
                                          const long long* __restrict__ counters,
                                          const long long* __restrict__ order, long long stride,
                                          long long first, const W* __restrict__ weights, T* out,
                                          long long rows, int n_out, long long n_in) {
    const int j = blockIdx.x * blockDim.x + threadIdx.x;
    if (j >= n_out) return;
    const long long begin = counters[1] * stride + first;
    const W* w = weights + j * n_in;
    for (long long i = blockIdx.y; i < rows; i += gridDim.y) {
        const long long row = order ? order[begin + i] : begin + i;
        const long long end = starts[row + 1];
        T sum = 0;
        for (long long k = starts[row]; k < end; ++k) sum += values[k] * T(compute(w[indices[k]]));
        out[i * n_out + j] = sum;
    }
}
