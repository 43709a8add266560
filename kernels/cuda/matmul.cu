// A product of small matrices, fused with the operation after it (product.cuh). `Only` has its constants and
// types.
//
// grid (ceil(columns / TILE_N), ceil(rows / TILE_M), parts), block 256.
typedef Product<Only> Single;
extern "C" __launch_bounds__(256, Only::EACH_M * Only::EACH_N > 32 ? 1 : 2) __global__
    void matmul(const Only::A* __restrict__ a, const Only::B* __restrict__ b, Only::C* out, Single::Sum* z,
                const Only::V* __restrict__ v, Single::Sum* biases, Single::Four* partial, unsigned int* arrivals,
                int rows, int columns, int inner, int step, double alpha, double beta) {
    __shared__ Single::Memory memory;
    const Place at = {blockIdx.x, blockIdx.y, blockIdx.z, gridDim.x, gridDim.y, gridDim.z};
    Single::run(memory, at, a, b, out, z, v, biases, partial, arrivals, rows, columns, inner, step, alpha, beta,
                Order(), Nothing());
}
