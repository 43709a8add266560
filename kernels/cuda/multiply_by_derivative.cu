// delta = product * activation'(v), where v is the a or z that the derivative reads. `product` may be
// `delta`. `derivative` is the text of the activation's table entry. V, P and D are the types of v, product
// and delta.
//
// grid and block: by rows (launch.py).
extern "C" __global__ void multiply_by_derivative(const V* __restrict__ v, const P* product, D* delta,
                                                  long long rows, int columns) {
    by_rows(rows, columns, [=](long long row, int column) {
        const long long first = row * columns + column;
        const auto reads = load(v + first);
        const auto products = load(product + first);
        Vector<D> deltas;
        for (int k = 0; k < VECTOR; ++k)
            deltas.value[k] = D(compute(products.value[k]) * derivative(compute(reads.value[k])));
        store(delta + first, deltas);
    });
}
