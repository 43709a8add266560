// out[i] = scale * source[row] + shift, where row is order[k], or k if `order` is null, and
// k = counters[1] * stride + first + i. S is the source's type.
//
// grid and block: by rows (launch.py). No index is divided, and a thread reads `order` once for each row.
extern "C" __global__ void gather(const S* __restrict__ source, const long long* __restrict__ counters,
                                  const long long* __restrict__ order, long long stride, long long first,
                                  double scale, double shift, T* out, long long rows, int columns) {
    const long long begin = counters[1] * stride + first;
    const bool as_it_is = scale == 1 && shift == 0;
    by_rows(rows, columns, [=](long long row, int column) {
        const long long from = order ? order[begin + row] : begin + row;
        const auto given = load(source + from * columns + column);
        Vector<T> taken;
        for (int k = 0; k < VECTOR; ++k) {
            const S value = given.value[k];
            taken.value[k] = as_it_is ? T(value) : T(scale * value + shift);
        }
        store(out + row * columns + column, taken);
    });
}
