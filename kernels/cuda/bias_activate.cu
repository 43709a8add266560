// a = activation(z + b), and z <- z + b if `keeps`. Without `keeps`, `a` may be `z`. `biases` may be null.
// `activation` is the text of the activation's table entry. T is the type of z and b; A is the type of a.
//
// grid and block: by rows (launch.py). A thread goes down the rows with the biases of its VECTOR columns in
// registers. No index is divided, and a load or store moves up to 16 bytes.
extern "C" __global__ void bias_activate(const T* __restrict__ biases, T* z, A* a, bool keeps,
                                         long long rows, int columns) {
    const int column = (blockIdx.x * blockDim.x + threadIdx.x) * VECTOR;
    if (column >= columns) return;
    decltype(compute(T())) b[VECTOR];
    for (int k = 0; k < VECTOR; ++k) b[k] = biases ? compute(biases[column + k]) : compute(T(0));
    const long long stride = (long long)gridDim.y * blockDim.y;
#pragma unroll 1  // an unrolled loop begins with a division, and few threads have many rows
    for (long long row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += stride) {
        const long long first = row * columns + column;
        Vector<T> shifted = load(z + first);
        Vector<A> activated;
        for (int k = 0; k < VECTOR; ++k) {
            shifted.value[k] = T(compute(shifted.value[k]) + b[k]);
            activated.value[k] = A(activation(compute(shifted.value[k])));
        }
        if (keeps) store(z + first, shifted);
        store(a + first, activated);
    }
}
