// The product of two matrices, fused with the operation after it, by the blocks of a kernel. With sums =
// op(a) op(b), which is (rows, columns):
//   PRODUCT    out = alpha sum + beta out
//   FORWARD    z = sum + b, out = activation(z); z is written unless it is null
//   BACKWARD   out = sum * derivative(v)
//   GRADIENT   out = sum + beta out, and biases = the sums of op(a)'s rows + beta biases
//   OUTPUT     `finish` gets the sums, four at a time; all of a row's columns are in one block
// `activation` and `derivative` are the text of the activation's table entry. Arrays are dense. op(a) is
// (rows, inner): a, or its transpose with TRANSPOSE_A. op(b) is (inner, columns): b, or its transpose with
// TRANSPOSE_B. A, B, V and C are the types of a, b, v and out; sums, z and biases have type Sum. BY_ORDER says
// that the rows of x lie among other rows, in the order that an `Order` gives: x is a, or b in a GRADIENT.
//
// A block of 256 threads computes a TILE_M x TILE_N piece in steps of STEP along the inner dimension, k. The
// tiles of a step lie in shared memory, with k first. While the block multiplies them, the numbers of the
// next step are loaded to registers. A thread computes EACH_M x EACH_N sums, in fours of neighbouring rows
// and columns: few loads of 16 bytes then feed many multiply-adds. If this takes fewer than 256 threads,
// several GROUPS of threads share a step's k, and their sums are added at the end. A load reads LOAD_A or
// LOAD_B neighbouring numbers, a store writes STORE. The launcher chooses these numbers: they divide the
// rows' length, and the addresses are aligned.
//
// With several parts of k, each `step` long, every block writes its sums to `partial`. The last of a
// piece's blocks to arrive adds them in the order of the parts, so the bits are always the same.
// `arrivals`, one for each piece, are zero before and after.
template <typename T, int SIZE> struct alignas(sizeof(T) * SIZE) Several { T value[SIZE]; };
template <int SIZE, typename T> __device__ __forceinline__ Several<T, SIZE> several(const T* from) {
    return *reinterpret_cast<const Several<T, SIZE>*>(from);
}

// Loads what other blocks of this launch have written, from the cache that all blocks share.
template <typename Sum> __device__ __forceinline__ Several<Sum, 4> fresh(const Several<Sum, 4>* from) {
    Several<Sum, 4> values;
    for (int j = 0; j < 4; ++j) values.value[j] = __ldcg(&from->value[j]);
    return values;
}

// Where the rows of a batch lie: from `begin` on, in the order of `order` unless it is null.
struct Order {
    const long long* order;
    long long begin;
    __device__ __forceinline__ long long operator()(int row) const {
        return order ? order[begin + row] : begin + row;
    }
};

// The place of this block's piece in the product, and how many pieces and parts there are.
struct Place { unsigned int across, down, part, pieces_across, pieces_down, parts; };

struct Nothing {};

// The place of column x of row k in a tile WIDTH wide. Fours of columns change places from row to row:
// otherwise threads that store one column, each at another k, would meet in the same bank.
template <int WIDTH> __device__ __forceinline__ int place(int k, int x) {
    return k * WIDTH + ((x / 4) ^ (k / 4 % (WIDTH / 4))) * 4 + x % 4;
}

// Moves a WIDTH x STEP piece of an operand from memory to registers, then to shared memory. ALONG says
// whether k runs along the rows of memory, which are `width` long. `first` and `limit` bound the other
// index. BY_ORDER says that an `Order` gives the rows of memory: `find` looks them up for the next `fetch`.
template <typename T, int STEP, int LOAD, bool ALONG, int WIDTH, bool BY_ORDER> struct Piece {
    static constexpr int CHUNKS = WIDTH * STEP / LOAD / 256, IN_ROW = (ALONG ? STEP : WIDTH) / LOAD;
    Several<T, LOAD> chunks[CHUNKS];
    long long found[BY_ORDER ? CHUNKS : 1];

    __device__ __forceinline__ void find(const Order& order, int k, int end, int first, int limit) {
        for (int chunk = 0; chunk < CHUNKS; ++chunk) {
            const int row = (ALONG ? first : k) + (threadIdx.x + 256 * chunk) / IN_ROW;
            found[chunk] = row < (ALONG ? limit : end) ? order(row) : 0;
        }
    }

    __device__ __forceinline__ void fetch(const T* from, int width, int k, int end, int first, int limit) {
        for (int chunk = 0; chunk < CHUNKS; ++chunk) {
            const int i = threadIdx.x + 256 * chunk, x = i % IN_ROW * LOAD, y = i / IN_ROW;
            const int at = k + (ALONG ? x : y), other = first + (ALONG ? y : x);
            if (at < end && other < limit) {
                const size_t row = BY_ORDER ? (size_t)found[chunk] : (size_t)(ALONG ? other : at);
                chunks[chunk] = several<LOAD>(from + row * width + (ALONG ? at : other));
            } else
                for (int j = 0; j < LOAD; ++j) chunks[chunk].value[j] = T(0);
        }
    }

    template <typename Sum> __device__ __forceinline__ void put(Sum* tile) const {
        for (int chunk = 0; chunk < CHUNKS; ++chunk) {
            const int i = threadIdx.x + 256 * chunk, x = i % IN_ROW * LOAD, y = i / IN_ROW;
            if constexpr (!ALONG && LOAD == 4) {
                Several<Sum, 4> wide;
                for (int j = 0; j < 4; ++j) wide.value[j] = compute(chunks[chunk].value[j]);
                *reinterpret_cast<Several<Sum, 4>*>(&tile[place<WIDTH>(y, x)]) = wide;
            } else {
                for (int j = 0; j < LOAD; ++j)
                    tile[ALONG ? place<WIDTH>(x + j, y) : place<WIDTH>(y, x + j)] = compute(chunks[chunk].value[j]);
            }
        }
    }
};

// A product; P has its constants and types.
template <typename P> struct Product {
    typedef typename P::A A;
    typedef typename P::B B;
    typedef typename P::C C;
    typedef typename P::V V;
    typedef decltype(compute(A())) Sum;
    typedef Several<Sum, 4> Four;
    static constexpr int KIND = P::KIND, STEP = P::STEP, STORE = P::STORE;
    static constexpr int TILE_M = P::TILE_M, TILE_N = P::TILE_N, EACH_M = P::EACH_M, EACH_N = P::EACH_N;
    static constexpr bool TRANSPOSE_A = P::TRANSPOSE_A, TRANSPOSE_B = P::TRANSPOSE_B;
    static constexpr bool A_BY_ORDER = P::BY_ORDER && KIND != GRADIENT, B_BY_ORDER = P::BY_ORDER && KIND == GRADIENT;
    static constexpr int ACROSS = TILE_N / EACH_N, GROUP = TILE_M / EACH_M * ACROSS, GROUPS = 256 / GROUP;
    static constexpr int OUT = TILE_M * TILE_N / 1024;  // fours of results of a thread
    static constexpr int A_SIZE = TILE_M * STEP, B_SIZE = TILE_N * STEP, TILES = 2 * (A_SIZE + B_SIZE);
    static constexpr int GATHERED = GROUPS == 1 ? 0 : GROUPS * TILE_M * TILE_N;

    // A block's shared memory.
    struct Memory {
        alignas(32) Sum tiles[TILES > GATHERED ? TILES : GATHERED];
        Sum row_sums[KIND == GRADIENT ? GROUPS : 1][TILE_M];
        bool last;
    };

    template <typename Finish>
    static __device__ __forceinline__ void
    run(Memory& memory, const Place& at, const A* __restrict__ a, const B* __restrict__ b, C* out, Sum* z,
        const V* __restrict__ v, Sum* biases, Four* partial, unsigned int* arrivals, int rows, int columns,
        int inner, int step, double alpha, double beta, const Order& order, const Finish& finish) {
        const int group = threadIdx.x / GROUP, within = threadIdx.x % GROUP;
        // The thread's fours begin at columns x, x + TILE_N / (EACH_N / 4), ..., and its rows likewise.
        const int x = within % ACROSS * 4, y = within / ACROSS * 4;
        constexpr int NEXT_X = TILE_N / (EACH_N / 4), NEXT_Y = TILE_M / (EACH_M / 4);
        const int first_row = at.down * TILE_M, first_column = at.across * TILE_N;
        const int begin = at.part * step, end = begin + step < inner ? begin + step : inner;
        Piece<A, STEP, P::LOAD_A, !TRANSPOSE_A, TILE_M, A_BY_ORDER> a_next;
        Piece<B, STEP, P::LOAD_B, TRANSPOSE_B, TILE_N, B_BY_ORDER> b_next;
        const int a_width = TRANSPOSE_A ? rows : inner, b_width = TRANSPOSE_B ? inner : columns;
        if (A_BY_ORDER) a_next.find(order, begin, end, first_row, rows);
        if (B_BY_ORDER) b_next.find(order, begin, end, first_column, columns);
        a_next.fetch(a, a_width, begin, end, first_row, rows);
        b_next.fetch(b, b_width, begin, end, first_column, columns);
        // Where k runs down the rows, each step has others: they are looked up one step ahead.
        if (B_BY_ORDER) b_next.find(order, begin + STEP, end, first_column, columns);
        Sum sums[EACH_M][EACH_N] = {}, row_sums[EACH_M] = {};
        int current = 0;
        for (int start = begin; start < end; start += STEP) {
            Sum *a_tile = memory.tiles + current * A_SIZE, *b_tile = memory.tiles + 2 * A_SIZE + current * B_SIZE;
            a_next.put(a_tile);
            b_next.put(b_tile);
            // One barrier a step is enough: before a thread writes these tiles again, all have passed the next
            // barrier.
            __syncthreads();
            if (start + STEP < end) {
                a_next.fetch(a, a_width, start + STEP, end, first_row, rows);
                b_next.fetch(b, b_width, start + STEP, end, first_column, columns);
                if (B_BY_ORDER) b_next.find(order, start + 2 * STEP, end, first_column, columns);
            }
#pragma unroll 8
            for (int i = 0; i < STEP / GROUPS; ++i) {
                const int k = group * (STEP / GROUPS) + i;
                Four left[EACH_M / 4], right[EACH_N / 4];
                for (int m = 0; m < EACH_M / 4; ++m) left[m] = several<4>(&a_tile[place<TILE_M>(k, y + m * NEXT_Y)]);
                for (int n = 0; n < EACH_N / 4; ++n) right[n] = several<4>(&b_tile[place<TILE_N>(k, x + n * NEXT_X)]);
                for (int r = 0; r < EACH_M; ++r) {
                    const Sum value = left[r / 4].value[r % 4];
                    if (KIND == GRADIENT) row_sums[r] += value;
                    for (int c = 0; c < EACH_N; ++c) sums[r][c] += value * right[c / 4].value[c % 4];
                }
            }
            current ^= 1;
        }

        // From here on a thread has OUT fours of sums; the i-th begins at (row_of(i), column_of(i)). The first
        // TILE_M threads have one row sum each.
        constexpr int FOURS = EACH_N / 4, ROW = TILE_N / 4;
        const auto row_of = [=](int i) {
            return first_row + (GROUPS == 1 ? y + i / FOURS / 4 * NEXT_Y + i / FOURS % 4 : (threadIdx.x + 256 * i) / ROW);
        };
        const auto column_of = [=](int i) {
            return first_column + (GROUPS == 1 ? x + i % FOURS * NEXT_X : (threadIdx.x + 256 * i) % ROW * 4);
        };
        Four results[OUT];
        __syncthreads();
        if (KIND == GRADIENT && x == 0)
            for (int r = 0; r < EACH_M; ++r) memory.row_sums[group][y + r / 4 * NEXT_Y + r % 4] = row_sums[r];
        for (int r = 0; r < EACH_M; ++r)
            for (int n = 0; n < FOURS; ++n) {
                Four four;
                for (int c = 0; c < 4; ++c) four.value[c] = sums[r][4 * n + c];
                if constexpr (GROUPS == 1)
                    results[r * FOURS + n] = four;
                else
                    *reinterpret_cast<Four*>(&memory.tiles[(group * TILE_M + y + r / 4 * NEXT_Y + r % 4) * TILE_N + x +
                                                           n * NEXT_X]) = four;
            }
        __syncthreads();
        if constexpr (GROUPS > 1)
            for (int i = 0; i < OUT; ++i) {
                results[i] = {};
                for (int g = 0; g < GROUPS; ++g) {
                    const Four four = several<4>(&memory.tiles[g * TILE_M * TILE_N + (threadIdx.x + 256 * i) * 4]);
                    for (int c = 0; c < 4; ++c) results[i].value[c] += four.value[c];
                }
            }
        const bool adds_row =
            KIND == GRADIENT && biases && first_column == 0 && threadIdx.x < TILE_M && first_row + threadIdx.x < rows;
        Sum row_sum = 0;
        if (adds_row)
            for (int g = 0; g < GROUPS; ++g) row_sum += memory.row_sums[g][threadIdx.x];

        if (at.parts > 1) {
            const int piece = at.down * at.pieces_across + at.across, pieces = at.pieces_across * at.pieces_down;
            Four* own = partial + (size_t)piece * at.parts * OUT * 256 + threadIdx.x;
            Sum* own_rows = reinterpret_cast<Sum*>(partial + (size_t)pieces * at.parts * OUT * 256) +
                            (size_t)at.down * at.parts * TILE_M + threadIdx.x;
            for (int i = 0; i < OUT; ++i) own[(at.part * OUT + i) * 256] = results[i];
            if (adds_row) own_rows[at.part * TILE_M] = row_sum;
            __syncthreads();
            if (threadIdx.x == 0) {
                memory.last = arrive(&arrivals[piece]) == at.parts - 1;
                if (memory.last) arrivals[piece] = 0;
            }
            __syncthreads();
            if (!memory.last) return;
            for (int i = 0; i < OUT; ++i) results[i] = {};
#pragma unroll 4
            for (unsigned int part = 0; part < at.parts; ++part)
                for (int i = 0; i < OUT; ++i) {
                    const Four four = fresh(&own[(part * OUT + i) * 256]);
                    for (int c = 0; c < 4; ++c) results[i].value[c] += four.value[c];
                }
            if (adds_row) {
                double sum = 0;
#pragma unroll 4
                for (unsigned int part = 0; part < at.parts; ++part) sum += __ldcg(&own_rows[part * TILE_M]);
                row_sum = Sum(sum);
            }
        }

        if constexpr (KIND == OUTPUT) {
            // A row's fours are in ROW neighbouring threads.
            static_assert(GROUPS > 1 && ROW <= 32, "a warp has whole rows");
#pragma unroll
            for (int i = 0; i < OUT; ++i) finish(results[i], row_of(i), column_of(i));
            return;
        }
        if (adds_row) {
            Sum* bias = biases + first_row + threadIdx.x;
            *bias = beta == 0 ? row_sum : row_sum + Sum(beta) * *bias;
        }
        for (int i = 0; i < OUT; ++i) {
            const int row = row_of(i), column = column_of(i);
            if (row >= rows) continue;
            for (int c = 0; c < 4 && column + c < columns; c += STORE) {
                const size_t at = (size_t)row * columns + column + c;
                Several<C, STORE> result;
                Several<Sum, STORE> shifted;
                Several<V, STORE> reads;
                if (KIND == BACKWARD) reads = several<STORE>(v + at);
                if (beta != 0) result = several<STORE>(out + at);
                for (int s = 0; s < STORE; ++s) {
                    const Sum sum = results[i].value[c + s];
                    if (KIND == FORWARD) {
                        shifted.value[s] = biases ? sum + biases[column + c + s] : sum;
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
};
