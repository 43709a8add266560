// out = values, of another type: rounded to the nearest, ties to even, or widened.
//
// By rows (launch.py): a thread has VECTOR neighbouring columns and goes down the rows.
extern "C" __global__ void convert(const S* __restrict__ values, T* out, long long rows, int columns) {
    const int column = (blockIdx.x * blockDim.x + threadIdx.x) * VECTOR;
    if (column >= columns) return;
    const long long step = (long long)gridDim.y * blockDim.y;
#pragma unroll 1
    for (long long row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += step) {
        const long long first = row * columns + column;
        const auto given = *reinterpret_cast<const Vector<S>*>(values + first);
        Vector<T> converted;
        for (int k = 0; k < VECTOR; ++k) converted.value[k] = T(compute(given.value[k]));
        *reinterpret_cast<Vector<T>*>(out + first) = converted;
    }
}
