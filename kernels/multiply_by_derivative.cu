// delta = product * activation'(v), v the a or z that the derivative reads. `product` may be `delta`.
// `derivative` is the text of the activation's table entry; P, V and D are the types of the three.
//
// By rows (launch.py): a thread has VECTOR neighbouring columns and goes down the rows.
extern "C" __global__ void multiply_by_derivative(const V* __restrict__ v, const P* product, D* delta,
                                                  long long rows, int columns) {
    const int column = (blockIdx.x * blockDim.x + threadIdx.x) * VECTOR;
    if (column >= columns) return;
    const long long step = (long long)gridDim.y * blockDim.y;
#pragma unroll 1
    for (long long row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += step) {
        const long long first = row * columns + column;
        const auto reads = *reinterpret_cast<const Vector<V>*>(v + first);
        const auto products = *reinterpret_cast<const Vector<P>*>(product + first);
        Vector<D> deltas;
        for (int k = 0; k < VECTOR; ++k)
            deltas.value[k] = D(compute(products.value[k]) * derivative(compute(reads.value[k])));
        *reinterpret_cast<Vector<D>*>(delta + first) = deltas;
    }
}
