// a = activation(z + b), and z <- z + b where `a` is other memory than `z`. `biases` may be null.
// `activation` is the text of the activation's table entry.
//
// A thread has VECTOR neighbouring columns, whose biases it keeps in registers, and goes down the rows in the
// grid's strides: no index is divided, and a load or store moves 16 bytes where the launcher found that
// columns and addresses allow it (VECTOR > 1). grid (columns, any), block (up to 32, the rest of 256).
struct alignas(sizeof(T) * VECTOR) Vector {
    T value[VECTOR];
};

extern "C" __global__ void bias_activate(const T* __restrict__ biases, T* z, T* a, long long rows, int columns) {
    const int column = (blockIdx.x * blockDim.x + threadIdx.x) * VECTOR;
    if (column >= columns) return;
    decltype(compute(T())) b[VECTOR];
    for (int k = 0; k < VECTOR; ++k) b[k] = biases ? compute(biases[column + k]) : compute(T(0));
    const long long stride = (long long)gridDim.y * blockDim.y;
#pragma unroll 1  // unrolled, it would begin with a division, and few threads have many rows
    for (long long row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += stride) {
        const long long first = row * columns + column;
        Vector shifted = *reinterpret_cast<const Vector*>(z + first), activated;
        for (int k = 0; k < VECTOR; ++k) {
            shifted.value[k] = T(compute(shifted.value[k]) + b[k]);
            activated.value[k] = T(activation(compute(shifted.value[k])));
        }
        if (a != z) *reinterpret_cast<Vector*>(z + first) = shifted;
        *reinterpret_cast<Vector*>(a + first) = activated;
    }
}
