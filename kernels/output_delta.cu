// delta[row][j] = scale[row] dC/da activation'(z), as `output_delta`, the text made of the cost's and the
// activation's table entries, says; v is the a or z that the activation's derivative reads.
//
// By rows (launch.py): a thread has VECTOR neighbouring columns and goes down the rows.
extern "C" __global__ void output_delta(const T* __restrict__ a, const T* __restrict__ y,
                                        const T* __restrict__ scale, const T* __restrict__ v, T* delta,
                                        long long rows, int columns) {
    const int column = (blockIdx.x * blockDim.x + threadIdx.x) * VECTOR;
    if (column >= columns) return;
    const long long step = (long long)gridDim.y * blockDim.y;
#pragma unroll 1
    for (long long row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += step) {
        const long long first = row * columns + column;
        const auto outputs = *reinterpret_cast<const Vector<T>*>(a + first);
        const auto targets = *reinterpret_cast<const Vector<T>*>(y + first);
        const auto reads = *reinterpret_cast<const Vector<T>*>(v + first);
        Vector<T> deltas;
        for (int k = 0; k < VECTOR; ++k)
            deltas.value[k] = T(delta_of(compute(outputs.value[k]), compute(targets.value[k]),
                                         compute(scale[row]), compute(reads.value[k])));
        *reinterpret_cast<Vector<T>*>(delta + first) = deltas;
    }
}
