// out[row] = scale * source[row'] + shift, for the rows row' of the step that the clock counts: from
// clock[1] * stride + first on, through `order` where it is not null. S is the source's type.
//
// By rows (launch.py): a thread has VECTOR neighbouring columns and goes down the rows, so that no index is
// divided and `order` is read once for each row and thread.
extern "C" __global__ void gather(const S* __restrict__ source, const long long* __restrict__ clock,
                                  const long long* __restrict__ order, long long stride, long long first,
                                  double scale, double shift, T* out, long long rows, int columns) {
    const int column = (blockIdx.x * blockDim.x + threadIdx.x) * VECTOR;
    if (column >= columns) return;
    const long long begin = clock[1] * stride + first, step = (long long)gridDim.y * blockDim.y;
    const bool as_it_is = scale == 1 && shift == 0;
#pragma unroll 1  // unrolled, it would begin with a division, and few threads have many rows
    for (long long row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += step) {
        const long long from = order ? order[begin + row] : begin + row;
        const auto given = *reinterpret_cast<const Vector<S>*>(source + from * columns + column);
        Vector<T> taken;
        for (int k = 0; k < VECTOR; ++k) {
            const S value = given.value[k];
            taken.value[k] = as_it_is ? T(value) : T(scale * value + shift);
        }
        *reinterpret_cast<Vector<T>*>(out + row * columns + column) = taken;
    }
}
