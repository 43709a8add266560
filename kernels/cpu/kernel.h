// The start of every text that is compiled for the CPU: how a kernel is called, and definitions of CUDA's
// words.
//
// A call is a function and its arguments in slots of eight bytes. Every kernel is a template of the real
// type T. Matrices are C-contiguous and dense. build.py joins the files' texts; they do not include each
// other. What follows this file is in the namespace `kernels`: there math.h has functions of its own with the
// names of the C library's.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

// These are included here, because an #include within an #if of another file would lose its condition.
#if !defined(_WIN32)
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
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

// The parameters of table entries, such as a slope: two of the activation, then two of the cost. A copy in
// the type of the arithmetic, which stays in registers.
template <typename T> struct Parameters {
    T values[4];
    explicit Parameters(const Slot& slot) {  // an array of four doubles; null if there are no parameters
        for (int k = 0; k < 4; ++k) values[k] = slot.pointer ? T(array<const double>(slot)[k]) : T(0);
    }
};

}  // namespace

// The start of exported names: empty, except in the library built ahead (build_ahead.py).
#ifndef PREFIX
#define PREFIX
#endif
// Every function that Python finds by its name is defined by EXPORTED: `EXPORTED(void, run)(int n) {...}`.
#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif
#define JOINED(start, name) start##name
#define PREFIXED(start, name) JOINED(start, name)
#define EXPORTED(result, name) extern "C" EXPORT result PREFIXED(PREFIX, name)

// A slot may hold a double, so without __restrict__ an array of doubles might overlap the slots, and a bound
// that is read from one would be read again in every turn of a loop, which then has no vectors.
#define KERNEL(name)                                                                   \
    template <typename T> static void name##_of(const Slot* __restrict__ arguments);   \
    EXPORTED(void, name##_float)(const Slot* s) { name##_of<float>(s); }               \
    EXPORTED(void, name##_double)(const Slot* s) { name##_of<double>(s); }             \
    template <typename T> static void name##_of([[maybe_unused]] const Slot* __restrict__ s)

// Definitions for the CPU of the CUDA words that the tables' texts use.
#define __device__
#define __forceinline__ __attribute__((always_inline)) inline
using std::abs, std::sqrt;
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
template <typename T> static inline T compute(T x) { return x; }
