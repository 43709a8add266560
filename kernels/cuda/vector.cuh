// Loads and stores of VECTOR neighbouring elements, and a thread's loop over its rows. launch.py chooses
// VECTOR and the grid.
template <typename T> struct alignas(sizeof(T) * VECTOR) Vector { T value[VECTOR]; };
template <typename T> __device__ __forceinline__ Vector<T> load(const T* from) {
    return *reinterpret_cast<const Vector<T>*>(from);
}
template <typename T> __device__ __forceinline__ void store(T* to, Vector<T> values) {
    *reinterpret_cast<Vector<T>*>(to) = values;
}

// Calls body(row, column) for each of the thread's rows; column is the first of its VECTOR columns.
template <typename Body> __device__ __forceinline__ void by_rows(long long rows, int columns, Body body) {
    const int column = (blockIdx.x * blockDim.x + threadIdx.x) * VECTOR;
    if (column >= columns) return;
    const long long step = (long long)gridDim.y * blockDim.y;
#pragma unroll 1  // an unrolled loop begins with a division, and few threads have many rows
    for (long long row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += step) body(row, column);
}
