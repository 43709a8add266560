// The CPU's compiled kernels, and the loop that runs a captured step of them without Python.
//
// A call is a function and its arguments in slots of eight bytes; `run_calls` makes a list of them in
// order. Matrices are C-contiguous and dense. Every kernel is a template of the real type T; those of
// activations, costs and updates are generated around the CUDA text of their table entries, by
// compiled.py, which appends them to this file.
#include <cmath>
#include <cstdint>
#include <cstring>
#ifdef BASE
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>
#endif

namespace {

union Slot {
    void* pointer;
    int64_t integer;
    double real;
};

struct Call {
    void (*function)(const Slot*);
    Slot arguments[15];
};

template <typename T> T* array(const Slot& slot) { return static_cast<T*>(slot.pointer); }

}  // namespace

#define KERNEL(name)                                                          \
    template <typename T> static void name##_of(const Slot* arguments);       \
    extern "C" void name##_float(const Slot* s) { name##_of<float>(s); }      \
    extern "C" void name##_double(const Slot* s) { name##_of<double>(s); }    \
    template <typename T> static void name##_of([[maybe_unused]] const Slot* s)

// The words of CUDA that the tables' texts use, for the host.
#define __device__
#define __forceinline__ inline
using std::abs, std::cos, std::erf, std::erfc, std::exp, std::expm1, std::log, std::log1p, std::sin;
using std::sqrt, std::tanh;
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
template <typename T> static inline T compute(T x) { return x; }

#ifdef BASE

extern "C" void run_calls(const Call* calls, int64_t count) {
    for (int64_t k = 0; k < count; ++k) calls[k].function(calls[k].arguments);
}

namespace {

struct Shard {
    const Call* calls;
    int64_t count;
};

inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Between two steps a thread that runs shards spins for a while before it sleeps: to be woken takes longer
// (60 µs and more on a virtual machine) than a step of a small network. It spins politely, so that on a
// machine with more threads than processors the others get their turn.
template <typename Ready> inline bool spin(std::chrono::microseconds longest, const Ready& ready) {
    for (int k = 0; k < 500; ++k, pause())
        if (ready()) return true;
    const auto end = std::chrono::steady_clock::now() + longest;
    do {
        for (int k = 0; k < 20; ++k, pause())
            if (ready()) return true;
        sched_yield();
    } while (std::chrono::steady_clock::now() < end);
    return ready();
}

class Worker {
public:
    Worker() : thread_([this] { serve(); }) {}

    void give(const Shard& shard) {
        shard_ = shard;
        given_.store(given_.load() + 1);
        if (sleeping_.load()) {
            std::lock_guard<std::mutex> lock(mutex_);
            wake_.notify_one();
        }
    }

    // A shard that the worker has not begun, because it sleeps or another process has its processor, is done
    // by the thread that would wait for it.
    void finish() {
        const uint32_t now = given_.load();
        if (claim(now)) {
#ifdef __linux__
            // Once is chance; several times in a row, it may be waiting for this very processor: see spread.
            if (missed_.fetch_add(1) == 3) processor_.store(sched_getcpu());
#endif
            run_calls(shard_.calls, shard_.count);
            finished_.store(now);
            return;
        }
        const auto ready = [&] { return finished_.load(std::memory_order_acquire) == now; };
        while (!spin(std::chrono::microseconds(500), ready)) {}
    }

#ifdef __linux__
    int processor() const { return processor_.load(std::memory_order_relaxed); }

    void keep_off(const cpu_set_t& taken) {
        cpu_set_t allowed;
        if (sched_getaffinity(0, sizeof allowed, &allowed)) return;
        for (int k = 0; k < CPU_SETSIZE; ++k)
            if (CPU_ISSET(k, &taken)) CPU_CLR(k, &allowed);
        if (CPU_COUNT(&allowed)) pthread_setaffinity_np(thread_.native_handle(), sizeof allowed, &allowed);
    }
#endif

private:
    // Whether it falls to the thread that asks to run the shard that was given as number `now`.
    bool claim(uint32_t now) {
        uint32_t before = now - 1;
        return claimed_.compare_exchange_strong(before, now);
    }

    void serve() {
        for (uint32_t seen = 0;;) {
            const auto ready = [&] { return given_.load() != seen; };
            if (!spin(std::chrono::microseconds(500), ready)) {
                std::unique_lock<std::mutex> lock(mutex_);
                sleeping_.store(true);
                wake_.wait(lock, ready);
                sleeping_.store(false);
            }
#ifdef __linux__
            processor_.store(sched_getcpu(), std::memory_order_relaxed);
#endif
            seen = given_.load();
            if (!claim(seen)) continue;
            missed_.store(0);
            run_calls(shard_.calls, shard_.count);
            finished_.store(seen, std::memory_order_release);
        }
    }

    Shard shard_{};
    std::atomic<uint32_t> given_{0}, claimed_{0}, finished_{0}, missed_{0};
    std::atomic<bool> sleeping_{false};
    std::atomic<int> processor_{-1};
    std::mutex mutex_;
    std::condition_variable wake_;
    std::thread thread_;
};

// Never destroyed, as its threads never end; a forked child, which has none of them, starts anew.
struct Team {
    std::vector<Worker*> workers;
    std::mutex in_use;
};
Team* team = new Team;
const int forgets_threads = pthread_atfork(nullptr, nullptr, [] { team = new Team; });

// Linux has been seen to keep two spinning threads on one processor for a tenth of a second beside an idle
// one. A worker that last ran where this thread or another worker does may from now on run anywhere else.
void spread(const std::vector<Worker*>& workers) {
#ifdef __linux__
    cpu_set_t taken;
    CPU_ZERO(&taken);
    CPU_SET(sched_getcpu(), &taken);
    for (Worker* worker : workers) {
        const int processor = worker->processor();
        if (processor < 0) continue;
        if (CPU_ISSET(processor, &taken)) worker->keep_off(taken);
        else CPU_SET(processor, &taken);
    }
#endif
}

}  // namespace

extern "C" void run_shards(const Slot* s) {  // shards, count; the first runs in this thread
    const Shard* shards = array<const Shard>(s[0]);
    const size_t others = s[1].integer - 1;
    std::lock_guard<std::mutex> lock(team->in_use);
    while (team->workers.size() < others) team->workers.push_back(new Worker);
    spread(team->workers);
    for (size_t k = 0; k < others; ++k) team->workers[k]->give(shards[k + 1]);
    run_calls(shards[0].calls, shards[0].count);
    for (size_t k = 0; k < others; ++k) team->workers[k]->finish();
}

// out = alpha op(a) op(b) + beta out through BLAS's gemm, a part at a time: for each part of the rows each
// part of the columns, and for that each part of the inner dimension. BLAS counts along columns.
KERNEL(matmul) {  // gemm, transposed (1: a, 2: b), a, b, out, sizes, alpha, beta
    using Gemm = void (*)(const char*, const char*, const int*, const int*, const int*, const T*, const T*,
                          const int*, const T*, const int*, const T*, T*, const int*);
    const Gemm gemm = reinterpret_cast<Gemm>(s[0].pointer);
    const bool transpose_a = s[1].integer & 1, transpose_b = s[1].integer & 2;
    const int64_t* sizes = array<const int64_t>(s[5]);
    const int64_t rows = sizes[0], columns = sizes[1], inner = sizes[2];
    const int leading_a = int(sizes[6]), leading_b = int(sizes[7]), leading_out = int(sizes[8]);
    const T alpha = T(s[6].real), beta = T(s[7].real), one = 1;
    for (int64_t i = 0; i < rows; i += sizes[3])
        for (int64_t j = 0; j < columns; j += sizes[4])
            for (int64_t k = 0; k < inner; k += sizes[5]) {
                const int n_rows = int(std::min(sizes[3], rows - i));
                const int n_columns = int(std::min(sizes[4], columns - j));
                const int n_inner = int(std::min(sizes[5], inner - k));
                const T* a = array<const T>(s[2]) + (transpose_a ? k * leading_a + i : i * leading_a + k);
                const T* b = array<const T>(s[3]) + (transpose_b ? j * leading_b + k : k * leading_b + j);
                T* out = array<T>(s[4]) + i * leading_out + j;
                gemm(transpose_b ? "T" : "N", transpose_a ? "T" : "N", &n_columns, &n_rows, &n_inner, &alpha,
                     b, &leading_b, a, &leading_a, k ? &one : &beta, out, &leading_out);
            }
}

namespace {

// Where a step's rows come from, as compiled.py writes it before each replay.
struct Source {
    const void* data;
    const int64_t* order;
    int64_t stride;
    int64_t type;
};

template <typename S, typename T>
void copy_rows(const Source& source, int64_t start, int64_t rows, int64_t columns, T* out) {
    const S* data = static_cast<const S*>(source.data);
    for (int64_t i = 0; i < rows; ++i) {
        const int64_t row = source.order ? source.order[start + i] : start + i;
        const S* from = data + row * columns;
        if constexpr (sizeof(S) == sizeof(T) && S(0.5) == T(0.5))
            std::memcpy(out + i * columns, from, columns * sizeof(T));
        else
            for (int64_t j = 0; j < columns; ++j) out[i * columns + j] = T(from[j]);
    }
}

template <typename T>
void gather_rows(const Source& source, int64_t start, int64_t rows, int64_t columns, T* out) {
    switch (source.type) {  // in the order of compiled.py's SOURCE_TYPES
        case 0: return copy_rows<float>(source, start, rows, columns, out);
        case 1: return copy_rows<double>(source, start, rows, columns, out);
        case 2: return copy_rows<int8_t>(source, start, rows, columns, out);
        case 3: return copy_rows<uint8_t>(source, start, rows, columns, out);
        case 4: return copy_rows<int16_t>(source, start, rows, columns, out);
        case 5: return copy_rows<uint16_t>(source, start, rows, columns, out);
        case 6: return copy_rows<int32_t>(source, start, rows, columns, out);
        case 7: return copy_rows<uint32_t>(source, start, rows, columns, out);
        case 8: return copy_rows<int64_t>(source, start, rows, columns, out);
        case 9: return copy_rows<uint64_t>(source, start, rows, columns, out);
    }
}

}  // namespace

KERNEL(gather) {  // source, counters, first, out, rows, columns, scale, shift
    const Source& source = *array<const Source>(s[0]);
    const int64_t start = array<const int64_t>(s[1])[1] * source.stride + s[2].integer;
    const int64_t rows = s[4].integer, columns = s[5].integer;
    T* out = array<T>(s[3]);
    gather_rows(source, start, rows, columns, out);
    const T scale = T(s[6].real), shift = T(s[7].real);
    if (scale != 1 || shift != 0)
        for (int64_t i = 0; i < rows * columns; ++i) out[i] = scale * out[i] + shift;
}

extern "C" void gather_int64(const Slot* s) {
    const Source& source = *array<const Source>(s[0]);
    const int64_t start = array<const int64_t>(s[1])[1] * source.stride + s[2].integer;
    gather_rows(source, start, s[4].integer, s[5].integer, array<int64_t>(s[3]));
}

KERNEL(one_hot) {  // labels, out, rows, columns, low, high
    const int64_t* labels = array<const int64_t>(s[0]);
    T* out = array<T>(s[1]);
    const int64_t rows = s[2].integer, columns = s[3].integer;
    for (int64_t i = 0; i < rows * columns; ++i) out[i] = T(s[4].real);
    for (int64_t i = 0; i < rows; ++i)
        if (labels[i] >= 0 && labels[i] < columns) out[i * columns + labels[i]] = T(s[5].real);
}

KERNEL(normalize) {  // weights, rows
    T* weights = array<T>(s[0]);
    double total = 0;
    for (int64_t i = 0; i < s[1].integer; ++i) total += weights[i];
    for (int64_t i = 0; i < s[1].integer; ++i) weights[i] = total != 0 ? T(weights[i] / total) : T(0);
}

KERNEL(add_bias) {  // z, biases, rows, columns
    T* __restrict__ z = array<T>(s[0]);
    const T* __restrict__ biases = array<const T>(s[1]);
    for (int64_t i = 0; i < s[2].integer; ++i, z += s[3].integer)
        for (int64_t j = 0; j < s[3].integer; ++j) z[j] += biases[j];
}

KERNEL(softmax) {  // z, a, rows, columns; a may be z
    const T* z = array<const T>(s[0]);
    T* a = array<T>(s[1]);
    const int64_t columns = s[3].integer;
    for (int64_t i = 0; i < s[2].integer; ++i, z += columns, a += columns) {
        T largest = z[0], sum = 0;
        for (int64_t j = 1; j < columns; ++j) largest = z[j] > largest ? z[j] : largest;
        for (int64_t j = 0; j < columns; ++j) a[j] = exp(z[j] - largest);
        for (int64_t j = 0; j < columns; ++j) sum += a[j];
        const T factor = 1 / sum;
        for (int64_t j = 0; j < columns; ++j) a[j] *= factor;
    }
}

KERNEL(softmax_cross_entropy) {  // z, y, scale, delta, costs, rows, columns; delta or costs may be null
    const T* z = array<const T>(s[0]);
    const T* y = array<const T>(s[1]);
    const T* scale = array<const T>(s[2]);
    T* delta = array<T>(s[3]);
    T* costs = array<T>(s[4]);
    const int64_t columns = s[6].integer;
    for (int64_t i = 0; i < s[5].integer; ++i, z += columns, y += columns) {
        T largest = z[0], sum = 0, total = 0;
        for (int64_t j = 1; j < columns; ++j) largest = z[j] > largest ? z[j] : largest;
        if (delta) {
            T* __restrict__ row = delta + i * columns;
            for (int64_t j = 0; j < columns; ++j) row[j] = exp(z[j] - largest);
            for (int64_t j = 0; j < columns; ++j) sum += row[j];
            const T factor = 1 / sum;
            for (int64_t j = 0; j < columns; ++j) row[j] = (row[j] * factor - y[j]) * scale[i];
        } else {
            for (int64_t j = 0; j < columns; ++j) sum += exp(z[j] - largest);
        }
        if (!costs) continue;
        const T log_sum = log(sum);
        for (int64_t j = 0; j < columns; ++j) total += y[j] * (log_sum - (z[j] - largest));
        costs[i] = total;
    }
}

KERNEL(column_sums) {  // values, out, beta, rows, columns, partial (double, columns)
    const T* values = array<const T>(s[0]);
    T* out = array<T>(s[1]);
    const T beta = T(s[2].real);
    const int64_t rows = s[3].integer, columns = s[4].integer;
    double* __restrict__ total = array<double>(s[5]);
    for (int64_t j = 0; j < columns; ++j) total[j] = 0;
    // Eight rows are added in T before their sum joins the total: as fast as T, as exact as double.
    int64_t i = 0;
    for (; i + 8 <= rows; i += 8) {
        const T* __restrict__ row = values + i * columns;
        for (int64_t j = 0; j < columns; ++j)
            total[j] += ((row[j] + row[j + columns]) + (row[j + 2 * columns] + row[j + 3 * columns])) +
                        ((row[j + 4 * columns] + row[j + 5 * columns]) +
                         (row[j + 6 * columns] + row[j + 7 * columns]));
    }
    for (; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j) total[j] += values[i * columns + j];
    for (int64_t j = 0; j < columns; ++j) out[j] = T(total[j] + (beta ? double(beta * out[j]) : 0.0));
}

KERNEL(weighted_sum) {  // values, weights (null: the values), out, slot (null: 0), n, add
    const T* values = array<const T>(s[0]);
    const T* weights = s[1].pointer ? array<const T>(s[1]) : values;
    double total = 0;
    for (int64_t i = 0; i < s[4].integer; ++i) total += double(values[i]) * weights[i];
    double* out = array<double>(s[2]) + (s[3].pointer ? *array<const int64_t>(s[3]) : 0);
    *out = s[5].integer ? *out + total : total;
}

KERNEL(add) {  // values, out, n
    const T* __restrict__ values = array<const T>(s[0]);
    T* __restrict__ out = array<T>(s[1]);
    for (int64_t i = 0; i < s[2].integer; ++i) out[i] += values[i];
}

extern "C" void advance(const Slot* s) {
    array<int64_t>(s[0])[0] += 1;
    array<int64_t>(s[0])[1] += 1;
}

#endif
