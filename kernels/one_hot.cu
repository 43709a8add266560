// y[row][j] = high where j is the row's label, else low.
//
// By rows (launch.py): a thread has VECTOR neighbouring columns and goes down the rows.
extern "C" __global__ void one_hot(const long long* __restrict__ labels, double low, double high, T* y,
                                   long long rows, int columns) {
    const int column = (blockIdx.x * blockDim.x + threadIdx.x) * VECTOR;
    if (column >= columns) return;
    const long long step = (long long)gridDim.y * blockDim.y;
#pragma unroll 1
    for (long long row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += step) {
        const long long label = labels[row];
        Vector<T> values;
        for (int k = 0; k < VECTOR; ++k) values.value[k] = T(column + k == label ? high : low);
        *reinterpret_cast<Vector<T>*>(y + row * columns + column) = values;
    }
}
