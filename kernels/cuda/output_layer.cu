// The forward pass of the output layer, its delta and the cost of each row, in one launch: z = x wT + b, then
// for each row what output_delta.cu and row_costs.cu compute or, with SOFTMAX, what softmax_cross_entropy.cu
// does. `Only` has the product's constants and types (product.cuh). One block has all columns of its rows.
// delta, outputs or costs may be null.
//
// The targets' rows are not gathered: the k-th is targets[order[counters[1] * stride + first_row + k]]. A
// target is factor * value + shift, or with LABELS factor + shift in the label's column and shift elsewhere.
// READS_Z says that the activation's derivative reads z.
//
// grid (1, ceil(rows / TILE_M), parts), block 256.
typedef Product<Only> Single;
typedef Single::Sum Sum;

// What follows the product. The threads of a row are ROW neighbours in a warp; each has four columns.
struct Finish {
    static constexpr int ROW = Only::TILE_N / 4;
    const Sum* biases;
    const Y* targets;
    const Sum* scale;
    Only::C* delta;
    Sum *outputs, *costs;
    Order order;
    int rows, columns;
    double factor, shift;

    // The largest number, and the sum of the numbers, of a row's threads.
    static __device__ __forceinline__ Sum largest_of(Sum value) {
        for (int k = ROW / 2; k > 0; k /= 2) value = max(value, __shfl_xor_sync(0xffffffff, value, k));
        return value;
    }
    static __device__ __forceinline__ Sum sum_of(Sum value) {
        for (int k = ROW / 2; k > 0; k /= 2) value += __shfl_xor_sync(0xffffffff, value, k);
        return value;
    }

    __device__ __forceinline__ Sum target(long long row, int column) const {
        if (LABELS) return Sum(column == (long long)targets[row] ? factor + shift : shift);
        const Y value = targets[row * columns + column];
        return factor == 1 && shift == 0 ? Sum(value) : Sum(factor * value + shift);
    }

    // All threads of a warp come here together, also those whose row or columns do not exist.
    __device__ __forceinline__ void operator()(const Single::Four& sums, int row, int column) const {
        const bool exists = row < rows;
        const long long from = exists ? order(row) : 0;
        Sum z[4], a[4], y[4], deltas[4], total = 0;
        for (int c = 0; c < 4; ++c) {
            const bool inside = exists && column + c < columns;
            z[c] = inside ? biases ? sums.value[c] + biases[column + c] : sums.value[c] : Sum(0);
            y[c] = inside ? target(from, column + c) : Sum(0);
        }
        const Sum row_scale = exists ? scale[row] : Sum(0);
        if (SOFTMAX) {
            // The row's first z, because every other number may be larger than all of the row.
            Sum largest = __shfl_sync(0xffffffff, z[0], threadIdx.x % 32 / ROW * ROW), sum = 0;
            for (int c = 0; c < 4; ++c)
                if (column + c < columns) largest = max(largest, z[c]);
            largest = largest_of(largest);
            for (int c = 0; c < 4; ++c) {
                a[c] = column + c < columns ? exp(z[c] - largest) : Sum(0);
                sum += a[c];
            }
            sum = sum_of(sum);
            const Sum log_sum = log(sum);
            for (int c = 0; c < 4; ++c) {
                a[c] = a[c] / sum;
                deltas[c] = (a[c] - y[c]) * row_scale;
                if (column + c < columns) total += y[c] * (log_sum - (z[c] - largest));
            }
        } else {
#pragma unroll  // else the arrays are in memory
            for (int c = 0; c < 4; ++c) {
                a[c] = activation(z[c]);
                deltas[c] = delta_of(a[c], y[c], row_scale, READS_Z ? z[c] : a[c]);
                if (column + c < columns) total += cost(z[c], a[c], y[c]);
            }
        }
        total = sum_of(total);
        if (!exists) return;
        if (costs && column == 0) costs[row] = total;
#pragma unroll
        for (int c = 0; c < 4; c += Only::STORE) {
            if (column + c >= columns) break;
            const size_t at = (size_t)row * columns + column + c;
            Several<Only::C, Only::STORE> errors;
            Several<Sum, Only::STORE> activations;
            for (int s = 0; s < Only::STORE; ++s) {
                errors.value[s] = Only::C(deltas[c + s]);
                activations.value[s] = a[c + s];
            }
            if (delta) *reinterpret_cast<Several<Only::C, Only::STORE>*>(delta + at) = errors;
            if (outputs) *reinterpret_cast<Several<Sum, Only::STORE>*>(outputs + at) = activations;
        }
    }
};

constexpr int BLOCKS_AT_ONCE = sizeof(Sum) == 8 ? 1 : 2;  // doubles need more registers

extern "C" __launch_bounds__(256, BLOCKS_AT_ONCE) __global__
    void output_layer(const Only::A* __restrict__ x, const Only::B* __restrict__ weights, Only::C* delta,
                      Sum* outputs, const Sum* __restrict__ biases, Single::Four* partial, unsigned int* arrivals,
                      int rows, int columns, int inner, int step, const Y* __restrict__ targets, double factor,
                      double shift, const Sum* __restrict__ scale, Sum* costs,
                      const long long* __restrict__ counters, const long long* __restrict__ order,
                      long long stride, long long first_row) {
    __shared__ Single::Memory memory;
    const Place at = {blockIdx.x, blockIdx.y, blockIdx.z, gridDim.x, gridDim.y, gridDim.z};
    const Order by_order = {order, counters[1] * stride + first_row};
    const Finish finish = {biases, targets, scale, delta, outputs, costs, by_order, rows, columns, factor, shift};
    Single::run(memory, at, x, weights, nullptr, nullptr, nullptr, nullptr, partial, arrivals, rows, columns, inner,
                step, 1, 0, by_order, finish);
}
