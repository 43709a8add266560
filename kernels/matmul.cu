// Products of small matrices with what follows them: sums = op(a) op(b), (rows, columns), and of each sum
//   PRODUCT    out = alpha sum + beta out
//   FORWARD    z = sum + b, out = activation(z); z is kept where it is other memory than `out`
//   BACKWARD   out = sum * derivative(v)
//   GRADIENT   out = sum + beta out, and biases = the sums of op(a)'s rows + beta biases
// `activation` and `derivative` are the text of the activation's table entry. Arrays are dense: op(a) is a,
// (rows, inner), or with TRANSPOSE_A a's transpose; op(b) is b, (inner, columns), or b's transpose. A, B, V and
// C are the types of a, b, v and out; sums, z and biases are of type Sum.
//
// grid (ceil(columns / TILE), ceil(rows / TILE), parts), block 256. A block makes a TILE x TILE piece in steps of
// STEP along k. While it multiplies one step's tiles, which lie in shared memory with k first, the next step's
// numbers are on their way to registers. A thread makes EACH x EACH neighbouring sums. Memory is read LOAD_A and
// LOAD_B numbers at once along its rows, and STORE written; the launcher says how many divide and are aligned.
//
// Where there are several parts of k, each `step` long, every block leaves its sums in `partial`, (parts, rows,
// columns), and the last of a piece's blocks to come adds them up in the order of the parts, so that the bits are
// always the same. `counters`, one a piece, are zero before and after.
constexpr int EACH = TILE / 16;
typedef decltype(compute(A())) Sum;

template <typename T, int SIZE> struct alignas(sizeof(T) * SIZE) Several { T value[SIZE]; };
template <int SIZE, typename T> __device__ __forceinline__ Several<T, SIZE> several(const T* from) {
    return *reinterpret_cast<const Several<T, SIZE>*>(from);
}

// A TILE x STEP piece of an operand on its way: from memory to registers, then to shared memory. ALONG says
// that k runs along the rows of memory, which are `width` long; `first` and `limit` are of the other index.
template <typename T, int LOAD, bool ALONG> struct Piece {
    static constexpr int CHUNKS = TILE * STEP / LOAD / 256, ACROSS = (ALONG ? STEP : TILE) / LOAD;
    Several<T, LOAD> chunks[CHUNKS];

    __device__ __forceinline__ void fetch(const T* from, int width, int k, int end, int first, int limit) {
        for (int chunk = 0; chunk < CHUNKS; ++chunk) {
            const int i = threadIdx.x + 256 * chunk, x = i % ACROSS * LOAD, y = i / ACROSS;
            const int at = k + (ALONG ? x : y), other = first + (ALONG ? y : x);
            if (at < end && other < limit)
                chunks[chunk] = several<LOAD>(from + (size_t)(ALONG ? other : at) * width + (ALONG ? at : other));
            else
                for (int j = 0; j < LOAD; ++j) chunks[chunk].value[j] = T(0);
        }
    }

    __device__ __forceinline__ void put(Sum (*tile)[TILE + 4]) const {
        for (int chunk = 0; chunk < CHUNKS; ++chunk) {
            const int i = threadIdx.x + 256 * chunk, x = i % ACROSS * LOAD, y = i / ACROSS;
            for (int j = 0; j < LOAD; ++j)
                (ALONG ? tile[x + j][y] : tile[y][x + j]) = compute(chunks[chunk].value[j]);
        }
    }
};

// What other blocks of this launch have written.
__device__ __forceinline__ Sum fresh(const Sum* from) { return *reinterpret_cast<const volatile Sum*>(from); }

extern "C" __launch_bounds__(256) __global__
    void matmul(const A* __restrict__ a, const B* __restrict__ b, C* out, Sum* z, const V* __restrict__ v,
                Sum* biases, Sum* partial, unsigned int* counters, int rows, int columns, int inner, int step,
                double alpha, double beta) {
    alignas(32) __shared__ Sum a_tile[2][STEP][TILE + 4], b_tile[2][STEP][TILE + 4];
    const int x = threadIdx.x % 16 * EACH, y = threadIdx.x / 16 * EACH;
    const int first_row = blockIdx.y * TILE, first_column = blockIdx.x * TILE;
    const int begin = blockIdx.z * step, end = begin + step < inner ? begin + step : inner;
    Piece<A, LOAD_A, !TRANSPOSE_A> a_next;
    Piece<B, LOAD_B, TRANSPOSE_B> b_next;
    const int a_width = TRANSPOSE_A ? rows : inner, b_width = TRANSPOSE_B ? inner : columns;
    a_next.fetch(a, a_width, begin, end, first_row, rows);
    b_next.fetch(b, b_width, begin, end, first_column, columns);
    Sum sums[EACH][EACH] = {}, row_sums[EACH] = {};
    int current = 0;
    for (int start = begin; start < end; start += STEP) {
        a_next.put(a_tile[current]);
        b_next.put(b_tile[current]);
        __syncthreads();  // one a step: who writes these tiles again has passed the next one
        if (start + STEP < end) {
            a_next.fetch(a, a_width, start + STEP, end, first_row, rows);
            b_next.fetch(b, b_width, start + STEP, end, first_column, columns);
        }
#pragma unroll 8
        for (int k = 0; k < STEP; ++k) {
            const auto left = several<EACH>(&a_tile[current][k][y]), right = several<EACH>(&b_tile[current][k][x]);
            for (int i = 0; i < EACH; ++i) {
                if (KIND == GRADIENT) row_sums[i] += left.value[i];
                for (int j = 0; j < EACH; ++j) sums[i][j] += left.value[i] * right.value[j];
            }
        }
        current ^= 1;
    }

    const bool adds_rows = KIND == GRADIENT && biases && first_column == 0 && x == 0;
    if (gridDim.z > 1) {
        const size_t size = (size_t)rows * columns;
        Sum* row_partial = partial + gridDim.z * size;  // (parts, rows)
        for (int i = 0; i < EACH && first_row + y + i < rows; ++i) {
            const int row = first_row + y + i;
            for (int j = 0; j < EACH; ++j)
                if (first_column + x + j < columns)
                    partial[blockIdx.z * size + (size_t)row * columns + first_column + x + j] = sums[i][j];
            if (adds_rows) row_partial[(size_t)blockIdx.z * rows + row] = row_sums[i];
        }
        __shared__ bool last;
        __threadfence();
        __syncthreads();
        unsigned int* counter = counters + blockIdx.y * gridDim.x + blockIdx.x;
        if (threadIdx.x == 0) last = atomicAdd(counter, 1u) == gridDim.z - 1;
        __syncthreads();
        if (!last) return;
        if (threadIdx.x == 0) *counter = 0;
        __threadfence();
        for (int i = 0; i < EACH && first_row + y + i < rows; ++i) {
            const int row = first_row + y + i;
            for (int j = 0; j < EACH; ++j) {
                sums[i][j] = 0;
                if (first_column + x + j < columns)
                    for (int part = 0; part < gridDim.z; ++part)
                        sums[i][j] += fresh(&partial[part * size + (size_t)row * columns + first_column + x + j]);
            }
            if (adds_rows) {
                double sum = 0;
                for (int part = 0; part < gridDim.z; ++part)
                    sum += fresh(&row_partial[(size_t)part * rows + row]);
                row_sums[i] = Sum(sum);
            }
        }
    }

    for (int i = 0; i < EACH && first_row + y + i < rows; ++i) {
        const int row = first_row + y + i;
        if (adds_rows) biases[row] = beta == 0 ? row_sums[i] : row_sums[i] + Sum(beta) * biases[row];
        for (int j = 0; j < EACH; j += STORE) {
            const int column = first_column + x + j;
            if (column >= columns) break;
            const size_t at = (size_t)row * columns + column;
            Several<C, STORE> result;
            Several<Sum, STORE> shifted;
            Several<V, STORE> reads;
            if (KIND == BACKWARD) reads = several<STORE>(v + at);
            if (beta != 0) result = several<STORE>(out + at);
            for (int s = 0; s < STORE; ++s) {
                const Sum sum = sums[i][j + s];
                if (KIND == FORWARD) {
                    shifted.value[s] = biases ? sum + biases[column + s] : sum;
                    result.value[s] = C(activation(shifted.value[s]));
                } else if (KIND == BACKWARD) {
                    result.value[s] = C(sum * derivative(compute(reads.value[s])));
                } else {
                    const Sum scaled = Sum(alpha) * sum;
                    result.value[s] = C(beta == 0 ? scaled : scaled + Sum(beta) * compute(result.value[s]));
                }
            }
            if (KIND == FORWARD && z) *reinterpret_cast<Several<Sum, STORE>*>(z + at) = shifted;
            *reinterpret_cast<Several<C, STORE>*>(out + at) = result;
        }
    }
}
