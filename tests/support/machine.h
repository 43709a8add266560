// What CUDA C++ offers a kernel, for one thread of a host CPU.
//
// There are two parts. The language: qualifiers, vector types, intrinsics, maths. The machine: it runs
// the threads of a block as fibers, one block after another. A fiber runs until it meets a barrier or a
// warp intrinsic, so every run is the same. Not modelled: how far CUDA would let threads run ahead of
// each other, and the lower precision of the fast intrinsics (__expf is expf here).
//
// If a launch asks for it, subnormal numbers count as zero, as floats do under CuPy's option -ftz=true.
// A host treats doubles in the same way, so a launch of a kernel with doubles does not ask for it.
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <type_traits>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// ---------------------------------------------------------------------------------------------
// Qualifiers. These come after the system's headers, which use some of the names themselves.

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ __inline__ __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
// Shared memory has its own section, so that each block can begin with useless numbers in it.
#define __grid_constant__
#define __shared__ static __attribute__((section("cuda_shared")))

struct uint3 { unsigned x, y, z; };
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

#define CUDA_ON_HOST_VECTORS(T, NAME, ALIGN2, ALIGN4)                                              \
    struct alignas(ALIGN2) NAME##2 { T x, y; };                                                    \
    struct alignas(ALIGN4) NAME##4 { T x, y, z, w; };                                              \
    inline NAME##2 make_##NAME##2(T x, T y) { return {x, y}; }                                     \
    inline NAME##4 make_##NAME##4(T x, T y, T z, T w) { return {x, y, z, w}; }
CUDA_ON_HOST_VECTORS(float, float, 8, 16)
CUDA_ON_HOST_VECTORS(double, double, 16, 16)
CUDA_ON_HOST_VECTORS(int, int, 8, 16)
CUDA_ON_HOST_VECTORS(unsigned, uint, 8, 16)
#undef CUDA_ON_HOST_VECTORS

// ---------------------------------------------------------------------------------------------
// Maths. <math.h> of C++ overloads exp, log, tanh, erf, fma, abs, ... for float and double already.

#define CUDART_INF_F __builtin_inff()
#define CUDART_INF __builtin_inf()
#define CUDART_NAN_F __builtin_nanf("")
#define CUDART_NAN __builtin_nan("")
#define CUDART_PI_F 3.141592654f
#define CUDART_PI 3.1415926535897931e+0

namespace cuda_on_host {
template <class A, class B>
using Common = std::enable_if_t<std::is_arithmetic_v<A> && std::is_arithmetic_v<B>,
                                std::common_type_t<A, B>>;
template <class T> struct Identity { using type = T; };
template <class To, class From> To bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
}  // namespace cuda_on_host

template <class A, class B> cuda_on_host::Common<A, B> min(A a, B b) {
    using C = cuda_on_host::Common<A, B>;
    if constexpr (std::is_floating_point_v<C>) return fmin(C(a), C(b));
    else return C(b) < C(a) ? C(b) : C(a);
}
template <class A, class B> cuda_on_host::Common<A, B> max(A a, B b) {
    using C = cuda_on_host::Common<A, B>;
    if constexpr (std::is_floating_point_v<C>) return fmax(C(a), C(b));
    else return C(a) < C(b) ? C(b) : C(a);
}
// Templates, because newer C libraries declare functions of these names for double.
template <class T> T rsqrt(T x) { return T(1) / sqrt(x); }
template <class T> T normcdf(T x) { return T(0.5) * erfc(-x * T(0.70710678118654752440)); }
#define rsqrtf(x) rsqrt(float(x))
#define normcdff(x) normcdf(float(x))

#define __expf(x) expf(x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __powf(x, y) powf(x, y)
#define __fdividef(x, y) (float(x) / float(y))
#define __saturatef(x) fminf(fmaxf(x, 0.0f), 1.0f)
#define __frcp_rn(x) (1.0f / float(x))
#define __fsqrt_rn(x) sqrtf(x)
#define __frsqrt_rn(x) (1.0f / sqrtf(x))
#define __fadd_rn(x, y) (float(x) + float(y))
#define __fsub_rn(x, y) (float(x) - float(y))
#define __fmul_rn(x, y) (float(x) * float(y))
#define __fdiv_rn(x, y) (float(x) / float(y))
#define __fmaf_rn(x, y, z) fmaf(x, y, z)
#define __dadd_rn(x, y) (double(x) + double(y))
#define __dmul_rn(x, y) (double(x) * double(y))
#define __fma_rn(x, y, z) fma(double(x), double(y), double(z))

#define __float_as_uint(x) cuda_on_host::bits<unsigned>(float(x))
#define __float_as_int(x) cuda_on_host::bits<int>(float(x))
#define __uint_as_float(x) cuda_on_host::bits<float>(unsigned(x))
#define __int_as_float(x) cuda_on_host::bits<float>(int(x))
#define __double_as_longlong(x) cuda_on_host::bits<int64_t>(double(x))
#define __longlong_as_double(x) cuda_on_host::bits<double>(int64_t(x))
#define __uint2float_rn(x) float(unsigned(x))
#define __int2float_rn(x) float(int(x))
#define __float2int_rz(x) int(float(x))
#define __float2int_rn(x) int(lrintf(x))

// The functions that CuPy's float16 uses; `half` is CuPy's own type.
struct half;
template <class T = half> T __ushort_as_half(unsigned short bits) { return cuda_on_host::bits<T>(bits); }
template <class T> unsigned short __half_as_ushort(T x) { return cuda_on_host::bits<unsigned short>(x); }
inline unsigned short __float2half_rn(float x) { return cuda_on_host::bits<unsigned short>(_Float16(x)); }
inline float __half2float(unsigned short x) { return cuda_on_host::bits<_Float16>(x); }

inline unsigned __umulhi(unsigned a, unsigned b) { return uint64_t(a) * b >> 32; }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }

template <class T> T __ldg(const T *address) { return *address; }
template <class T> T __ldcg(const T *address) { return *address; }
inline void __threadfence() {}
inline void __threadfence_block() {}

// Fibers do not interrupt each other, so a plain read and write is atomic. Sums of floating-point
// numbers, and exchanged values, depend on the order of threads; sums, minima and maxima of integers
// do not.
static int order_matters;
template <class T> T atomicExch(T *address, typename cuda_on_host::Identity<T>::type value) {
    order_matters = 1;
    return std::exchange(*address, value);
}
template <class T> T atomicAdd(T *address, typename cuda_on_host::Identity<T>::type value) {
    order_matters |= std::is_floating_point_v<T>;
    return std::exchange(*address, T(*address + value));
}
template <class T> T atomicMax(T *address, typename cuda_on_host::Identity<T>::type value) {
    static_assert(std::is_integral_v<T>, "CUDA has atomicMax for integers alone");
    return std::exchange(*address, max(*address, value));
}
template <class T> T atomicMin(T *address, typename cuda_on_host::Identity<T>::type value) {
    static_assert(std::is_integral_v<T>, "CUDA has atomicMin for integers alone");
    return std::exchange(*address, min(*address, value));
}
template <class T>
T atomicCAS(T *address, typename cuda_on_host::Identity<T>::type compare,
            typename cuda_on_host::Identity<T>::type value) {
    static_assert(std::is_integral_v<T>, "CUDA has atomicCAS for integers alone");
    order_matters = 1;
    return std::exchange(*address, *address == compare ? value : *address);
}
inline unsigned atomicInc(unsigned *address, unsigned limit) {
    return std::exchange(*address, *address >= limit ? 0 : *address + 1);
}

// ---------------------------------------------------------------------------------------------
// The machine: threads of a block as fibers.

static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;
static const int warpSize = 32;

extern "C" __attribute__((weak, visibility("hidden"))) char __start_cuda_shared[];
extern "C" __attribute__((weak, visibility("hidden"))) char __stop_cuda_shared[];

namespace cuda_on_host {

static char error[512];  // what went wrong in this launch; empty if nothing did

enum State { RUNNABLE, AT_BARRIER, IN_WARP, LEFT };

// A thread runs on a fiber. When the thread ends, the next thread takes its fiber. So a kernel without
// barriers needs only one fiber.
struct Fiber {
    bool started;
    jmp_buf context;
    char *stack;
};

struct Thread {
    State state;
    uint3 index;
    int line;  // where it waits, in the kernel's source
    // In a warp intrinsic: the lanes that take part, this lane's value, the lane whose value it wants, ...
    unsigned mask;
    uint64_t offered;
    int source;
    // ... and the results.
    uint64_t received;
    unsigned ballot;
    Fiber fiber;
};

constexpr int max_threads = 1024;
constexpr size_t stack_bytes = 128 << 10, stack_gap = 256 << 10, max_dynamic_shared = 227 << 10, guard = 4096;
constexpr unsigned char nothing = 0xFF;  // as a floating-point number: NaN; as an integer: -1

// Stacks for as many fibers as a block can have. Every kernel is a separate library, and the number of
// a process's mappings is limited. So all kernels share these stacks, and run one at a time.
inline void *make_stacks() {
    void *made = mmap(nullptr, (stack_gap + stack_bytes) * max_threads, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (made == MAP_FAILED) return nullptr;
    for (int k = 0; k < max_threads; ++k)  // a stack overflow is then a fault
        mprotect(static_cast<char *>(made) + (stack_gap + stack_bytes) * k, stack_gap, PROT_NONE);
    return made;
}

static char *stacks;
static int n_stacks;
static Thread threads[max_threads];
static Fiber idle_fibers[max_threads];
static int n_threads, n_idle_fibers;
static Thread *current;
static jmp_buf scheduler;
static void (*body)(void **);
static void **body_arguments;
alignas(256) static unsigned char dynamic_shared[max_dynamic_shared + guard];

// Jumps to the scheduler; returns when the scheduler resumes this fiber.
static __attribute__((noinline)) void pause_fiber() {
    if (_setjmp(current->fiber.context) == 0) _longjmp(scheduler, 1);
}

static void run_fiber() {
    for (;;) {
        body(body_arguments);
        current->state = LEFT;
        pause_fiber();
    }
}

static __attribute__((noinline)) void resume(Thread &thread) {
    current = &thread;
    threadIdx = thread.index;
    if (_setjmp(scheduler) != 0) {
        if (current->state == LEFT) {
            idle_fibers[n_idle_fibers++] = current->fiber;
            current->fiber = {};
        }
        return;
    }
    Fiber &fiber = thread.fiber;
    if (!fiber.stack && n_idle_fibers) fiber = idle_fibers[--n_idle_fibers];
    if (fiber.started) _longjmp(fiber.context, 1);
    if (!fiber.stack)
        fiber.stack = stacks + (stack_gap + stack_bytes) * n_stacks++ + stack_gap;
    fiber.started = true;
    ucontext_t start;
    getcontext(&start);
    start.uc_stack.ss_sp = fiber.stack;
    start.uc_stack.ss_size = stack_bytes;
    start.uc_link = nullptr;
    makecontext(&start, run_fiber, 0);
    setcontext(&start);
}

inline void barrier(int line) {
    current->state = AT_BARRIER;
    current->line = line;
    pause_fiber();
}

inline const Thread &in_warp(unsigned mask, uint64_t offered, int source, int line) {
    const int lane = (current - threads) % warpSize;
    if (!(mask >> lane & 1))
        snprintf(error, sizeof error, "line %d: lane %d calls with the mask %#x, which leaves it out",
                 line, lane, mask);
    current->state = IN_WARP;
    current->line = line;
    current->mask = mask;
    current->offered = offered;
    current->source = source;
    pause_fiber();
    return *current;
}

template <class T> T shuffle(unsigned mask, T value, int source, int line) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "CUDA shuffles 4 or 8 bytes");
    uint64_t offered = 0;
    memcpy(&offered, &value, sizeof value);
    const uint64_t received = in_warp(mask, offered, source, line).received;
    memcpy(&value, &received, sizeof value);
    return value;
}

inline int lane_id() { return (current - threads) % warpSize; }
inline int same_segment(int target, int width) {
    return target >= 0 && target < warpSize && target / width == lane_id() / width ? target
                                                                                 : lane_id();
}

// Resumes a group of lanes once all of its lanes have arrived, except those that have left the kernel.
inline bool release_warp(Thread *warp, int lanes) {
    bool released = false;
    for (int lane = 0; lane < lanes; ++lane) {
        if (warp[lane].state != IN_WARP) continue;
        unsigned present = 0, ballot = 0;
        bool complete = true;
        for (int other = 0; other < lanes; ++other) {
            const Thread &t = warp[other];
            if (!(warp[lane].mask >> other & 1) || t.state == LEFT) continue;
            complete = complete && t.state == IN_WARP && t.mask == warp[lane].mask &&
                       t.line == warp[lane].line;
            present |= 1u << other;
            if (t.offered) ballot |= 1u << other;
        }
        if (!complete) continue;
        for (int other = 0; other < lanes; ++other) {
            if (!(present >> other & 1)) continue;
            Thread &t = warp[other];
            if (present >> t.source & 1) t.received = warp[t.source].offered;
            else memset(&t.received, nothing, sizeof t.received);
            t.ballot = ballot;
        }
        for (int other = 0; other < lanes; ++other)
            if (present >> other & 1) warp[other].state = RUNNABLE;
        released = true;
    }
    return released;
}

inline bool release_block() {
    for (int t = 0; t < n_threads; ++t)
        if (threads[t].state != AT_BARRIER || threads[t].line != threads[0].line) return false;
    for (int t = 0; t < n_threads; ++t) threads[t].state = RUNNABLE;
    return true;
}

inline void report_divergence() {
    const Thread *waiting = nullptr, *other = nullptr;
    for (int t = 0; t < n_threads; ++t)
        if (threads[t].state != LEFT && !waiting) waiting = &threads[t];
    for (int t = 0; t < n_threads; ++t)
        if (threads[t].state != waiting->state || threads[t].line != waiting->line ||
            (waiting->state == IN_WARP && threads[t].mask != waiting->mask))
            if (!other) other = &threads[t];
    int n = snprintf(error, sizeof error,
                     "divergent barrier in block (%u, %u, %u): thread (%u, %u, %u) waits in %s at "
                     "line %d",
                     blockIdx.x, blockIdx.y, blockIdx.z, waiting->index.x, waiting->index.y,
                     waiting->index.z,
                     waiting->state == AT_BARRIER ? "__syncthreads" : "a warp intrinsic",
                     waiting->line);
    if (!other) return;
    n += snprintf(error + n, sizeof error - n, ", thread (%u, %u, %u) ", other->index.x,
                  other->index.y, other->index.z);
    if (other->state == LEFT) snprintf(error + n, sizeof error - n, "has left the kernel");
    else
        snprintf(error + n, sizeof error - n, "in %s at line %d",
                 other->state == AT_BARRIER ? "__syncthreads" : "a warp intrinsic", other->line);
}

// Runs one block from start to end. Returns false, with a message in `error`, if its threads are stuck.
inline bool run_block(bool reversed) {
    for (int t = 0; t < n_threads; ++t) threads[t].state = RUNNABLE;
    for (;;) {
        bool all_left = true;
        for (int k = 0; k < n_threads; ++k) {
            Thread &thread = threads[reversed ? n_threads - 1 - k : k];
            if (thread.state == RUNNABLE) resume(thread);
            if (error[0]) return false;
            all_left = all_left && thread.state == LEFT;
        }
        if (all_left) return true;
        bool released = false;
        for (int first = 0; first < n_threads; first += warpSize)
            released |= release_warp(threads + first,
                                     n_threads - first < warpSize ? n_threads - first : warpSize);
        if (!released && !release_block()) {
            report_divergence();
            return false;
        }
    }
}

// A fault ends the launch, not the process. A failed check of alignment raises SIGILL, on ARM SIGTRAP.
static void on_fault(int signal) {
    snprintf(error, sizeof error, "%s by thread (%u, %u, %u) of block (%u, %u, %u)",
             signal == SIGILL || signal == SIGTRAP ? "misaligned address"
             : signal == SIGFPE                    ? "integer division by zero"
                                                   : "illegal access",
             threadIdx.x, threadIdx.y, threadIdx.z, blockIdx.x, blockIdx.y, blockIdx.z);
    _longjmp(scheduler, 1);
}

class FaultGuard {
public:
    FaultGuard() {
        static char stack[1 << 16];
        stack_t own = {};
        own.ss_sp = stack;
        own.ss_size = sizeof stack;
        sigaltstack(&own, &old_stack);
        struct sigaction action = {};
        action.sa_handler = on_fault;
        action.sa_flags = SA_ONSTACK | SA_NODEFER;
        for (int k = 0; k < 5; ++k) sigaction(signals[k], &action, &old_actions[k]);
    }
    ~FaultGuard() {
        for (int k = 0; k < 5; ++k) sigaction(signals[k], &old_actions[k], nullptr);
        sigaltstack(&old_stack, nullptr);
    }

private:
    static constexpr int signals[5] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    stack_t old_stack = {};
    struct sigaction old_actions[5] = {};
};

// While the object lives, subnormal numbers are zero, if `flushes` is set.
class Arithmetic {
public:
#if defined(__x86_64__)
    explicit Arithmetic(bool flushes) : before(_mm_getcsr()) { if (flushes) _mm_setcsr(before | 0x8040); }
    ~Arithmetic() { _mm_setcsr(before); }

private:
    unsigned before;
#elif defined(__aarch64__)
    explicit Arithmetic(bool flushes) {
        asm volatile("mrs %0, fpcr" : "=r"(before));
        if (flushes) asm volatile("msr fpcr, %0" : : "r"(before | 1u << 24));
    }
    ~Arithmetic() { asm volatile("msr fpcr, %0" : : "r"(before)); }

private:
    uint64_t before;
#else
    explicit Arithmetic(bool) {}
#endif
};

// A block whose threads never wait for each other needs no fibers.
static __attribute__((noinline)) bool run_threads(bool reversed) {
    if (_setjmp(scheduler) != 0) return false;  // on_fault jumps here
    for (int k = 0; k < n_threads; ++k) {
        threadIdx = threads[reversed ? n_threads - 1 - k : k].index;
        body(body_arguments);
    }
    return true;
}

struct Launch {  // filled in by Python
    unsigned grid[3], block[3];
    uint64_t shared_bytes;
    int32_t reversed;  // whether threads and blocks run in falling order
    int32_t waits;     // whether a block's threads wait for each other
    int32_t flushes;   // whether subnormal numbers are zero
    int32_t order_matters;  // set by the launch: whether results may depend on the order of threads
    void *stacks;
};

inline const char *launch(Launch &what, void (*kernel)(void **), void **arguments) {
    const unsigned *const grid = what.grid, *const block = what.block;
    stacks = static_cast<char *>(what.stacks);
    n_stacks = n_idle_fibers = 0;  // another kernel may have used the stacks
    gridDim = dim3(grid[0], grid[1], grid[2]);
    blockDim = dim3(block[0], block[1], block[2]);
    n_threads = block[0] * block[1] * block[2];
    body = kernel;
    body_arguments = arguments;
    error[0] = 0;
    order_matters = 0;
    const FaultGuard fault_guard;
    const Arithmetic arithmetic(what.flushes);
    for (int t = 0; t < n_threads; ++t) {
        const unsigned x = t % block[0], y = t / block[0] % block[1], z = t / block[0] / block[1];
        threads[t].index = {x, y, z};
        threads[t].fiber = {};
    }
    const uint64_t n_blocks = uint64_t(grid[0]) * grid[1] * grid[2];
    for (uint64_t k = 0; k < n_blocks && !error[0]; ++k) {
        const uint64_t b = what.reversed ? n_blocks - 1 - k : k;
        blockIdx = {unsigned(b % grid[0]), unsigned(b / grid[0] % grid[1]),
                    unsigned(b / grid[0] / grid[1])};
        if (!what.waits) {
            run_threads(what.reversed);
            continue;
        }
        memset(dynamic_shared, nothing, what.shared_bytes + guard);
        if (__start_cuda_shared)
            memset(__start_cuda_shared, nothing, __stop_cuda_shared - __start_cuda_shared);
        if (!run_block(what.reversed)) break;
        for (size_t byte = what.shared_bytes; byte < what.shared_bytes + guard; ++byte)
            if (dynamic_shared[byte] != nothing) {
                snprintf(error, sizeof error,
                         "block (%u, %u, %u) wrote past its %zu bytes of dynamic shared memory",
                         blockIdx.x, blockIdx.y, blockIdx.z, size_t(what.shared_bytes));
                break;
            }
    }
    what.order_matters = order_matters;
    return error;
}

template <class... A> constexpr size_t count_parameters(void (*)(A...)) { return sizeof...(A); }

template <class... A, size_t... I>
void call(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
    kernel(*static_cast<A *>(arguments[I])...);
}

// A kernel as Python sees it: the sizes of its parameters, and the function that calls it.
struct Kernel {
    const char *name;
    int32_t n_parameters;
    const int32_t *sizes;
    void (*call)(void **arguments);
};

// Not shared by kernels of several libraries, whose structs may have the same name and other sizes.
template <class... A> static const int32_t *sizes_of(void (*)(A...)) {
    static const int32_t sizes[] = {int32_t(sizeof(A))..., 0};
    return sizes;
}

#define CUDA_ON_HOST_KERNEL(NAME)                                                                  \
    {#NAME, int(count_parameters(&::NAME)), sizes_of(&::NAME), [](void **arguments) {              \
         call(&::NAME, arguments,                                                                  \
              std::make_index_sequence<count_parameters(decltype(&::NAME)(nullptr))>());           \
     }}

}  // namespace cuda_on_host

// The default argument is the line of the call; messages show it.
inline void __syncthreads(int line = __builtin_LINE()) { cuda_on_host::barrier(line); }
inline void __syncwarp(unsigned mask = 0xffffffff, int line = __builtin_LINE()) {
    cuda_on_host::in_warp(mask, 0, 0, line);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
    return cuda_on_host::in_warp(mask, predicate != 0, 0, line).ballot;
}
inline int __any_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
    return __ballot_sync(mask, predicate, line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
    return __ballot_sync(mask, !predicate, line) == 0;
}
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize,
              int line = __builtin_LINE()) {
    const int first = cuda_on_host::lane_id() / width * width;
    return cuda_on_host::shuffle(mask, value, first + (source & (width - 1)), line);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize,
                   int line = __builtin_LINE()) {
    const int target = cuda_on_host::lane_id() + int(delta);
    return cuda_on_host::shuffle(mask, value, cuda_on_host::same_segment(target, width), line);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize,
                 int line = __builtin_LINE()) {
    const int target = cuda_on_host::lane_id() - int(delta);
    return cuda_on_host::shuffle(mask, value, cuda_on_host::same_segment(target, width), line);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = warpSize,
                  int line = __builtin_LINE()) {
    const int target = cuda_on_host::lane_id() ^ lanes;
    return cuda_on_host::shuffle(mask, value, cuda_on_host::same_segment(target, width), line);
}
