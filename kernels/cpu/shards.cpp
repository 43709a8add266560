// The runtime: runs a list of calls without Python, and runs the shards of a step at the same time.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

namespace {

std::atomic<int> running{0};  // the threads that run calls

// A list of calls: those of a step, or of a shard.
struct Calls {
    const Call* calls;
    int64_t count;
};

// While it exists, its thread takes denormal numbers to be 0. Adam's moments become denormal if a gradient
// becomes 0, as those of a relu that is never positive do. They would stay so, and an operation on such a
// number takes a hundred times as long.
class FlushToZero {
public:
    FlushToZero() : before_(get()) { set(before_ | BITS); }
    FlushToZero(const FlushToZero&) = delete;
    ~FlushToZero() { set(before_); }

private:
#if defined(__SSE__)
    typedef unsigned int Mode;
    static constexpr Mode BITS = 0x8040;  // results, and operands
    static Mode get() { return __builtin_ia32_stmxcsr(); }
    static void set(Mode mode) { __builtin_ia32_ldmxcsr(mode); }
#elif defined(__aarch64__)
    typedef uint64_t Mode;
    static constexpr Mode BITS = 1 << 24;
    static Mode get() {
        Mode mode;
        asm volatile("mrs %0, fpcr" : "=r"(mode));
        return mode;
    }
    static void set(Mode mode) { asm volatile("msr fpcr, %0" : : "r"(mode)); }
#else
    typedef int Mode;
    static constexpr Mode BITS = 0;
    static Mode get() { return 0; }
    static void set(Mode) {}
#endif
    const Mode before_;
};

inline void run(const Calls& list) {
    for (int64_t k = 0; k < list.count; ++k) list.calls[k].function(list.calls[k].arguments);
}

// Every n-th of a step's shards, from `first` on: those that one thread runs.
struct Share {
    const Calls* shards;
    int64_t first, count, n;
};

inline void run(const Share& share) {
    for (int64_t k = share.first; k < share.count; k += share.n) run(share.shards[k]);
}

#if defined(_WIN32)
// What Processors needs of Windows. The header windows.h would define macros, such as `near` and `small`.
extern "C" {
__declspec(dllimport) unsigned short __stdcall GetActiveProcessorGroupCount(void);
__declspec(dllimport) unsigned long __stdcall GetCurrentProcessorNumber(void);
__declspec(dllimport) unsigned long __stdcall GetCurrentThreadId(void);
__declspec(dllimport) void* __stdcall GetCurrentProcess(void);
__declspec(dllimport) void* __stdcall OpenThread(unsigned long, int, unsigned long);
__declspec(dllimport) int __stdcall GetProcessAffinityMask(void*, unsigned long long*, unsigned long long*);
__declspec(dllimport) unsigned long long __stdcall SetThreadAffinityMask(void*, unsigned long long);
__declspec(dllimport) int __stdcall CloseHandle(void*);
}
#endif

// A set of processors, to keep a thread off them. On Windows it is empty if the machine has more than 64
// processors, which are then numbered in groups. On macOS a program cannot ask for a thread's processor or
// choose it: there the set is always empty.
class Processors {
public:
#if defined(__linux__)
    typedef pthread_t Thread;

    Processors() { CPU_ZERO(&set_); }
    static Thread this_thread() { return pthread_self(); }
    static int current() { return sched_getcpu(); }
    bool has(int processor) const { return CPU_ISSET(processor, &set_); }
    void add(int processor) { CPU_SET(processor, &set_); }

    void keep_off(Thread thread) const {
        cpu_set_t allowed;
        if (sched_getaffinity(0, sizeof allowed, &allowed)) return;
        for (int k = 0; k < CPU_SETSIZE; ++k)
            if (CPU_ISSET(k, &set_)) CPU_CLR(k, &allowed);
        if (CPU_COUNT(&allowed)) pthread_setaffinity_np(thread, sizeof allowed, &allowed);
    }

private:
    cpu_set_t set_;
#elif defined(_WIN32)
    typedef unsigned long Thread;

    static Thread this_thread() { return GetCurrentThreadId(); }
    static int current() {
        static const bool one_group = GetActiveProcessorGroupCount() == 1;
        return one_group ? int(GetCurrentProcessorNumber()) : -1;
    }
    bool has(int processor) const { return set_ >> processor & 1; }
    void add(int processor) { set_ |= 1ull << processor; }

    void keep_off(Thread thread) const {
        unsigned long long allowed = 0, of_system = 0;
        if (!GetProcessAffinityMask(GetCurrentProcess(), &allowed, &of_system) || !(allowed & ~set_)) return;
        constexpr unsigned long SET_AND_QUERY = 0x20 | 0x40;  // the rights that the next call needs
        if (void* handle = OpenThread(SET_AND_QUERY, 0, thread)) {
            SetThreadAffinityMask(handle, allowed & ~set_);
            CloseHandle(handle);
        }
    }

private:
    unsigned long long set_ = 0;
#else
    typedef int Thread;

    static Thread this_thread() { return 0; }
    static int current() { return -1; }
    bool has(int) const { return false; }
    void add(int) {}
    void keep_off(Thread) const {}
#endif
};

constexpr size_t CACHE_LINE = 64;  // the bytes of a cache line

inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Between two steps a worker's thread spins for a while before it sleeps, because to wake it takes longer
// (60 µs and more on a virtual machine) than a step of a small network. It yields while it spins: on a
// machine with more threads than processors the others can then run.
template <typename Ready> inline bool spin(std::chrono::microseconds longest, const Ready& ready) {
    for (int k = 0; k < 500; ++k, pause())
        if (ready()) return true;
    const auto end = std::chrono::steady_clock::now() + longest;
    do {
        for (int k = 0; k < 20; ++k, pause())
            if (ready()) return true;
        std::this_thread::yield();
    } while (std::chrono::steady_clock::now() < end);
    return ready();
}

// Accelerate, macOS's BLAS, starts threads for the products of each thread that does not tell it otherwise.
// Since macOS 15 a thread can (accelerate.py).
inline void keep_products_to_this_thread() {
#if defined(__APPLE__)
    constexpr unsigned ONE = 1;
    void* function = dlsym(RTLD_DEFAULT, "BLASSetThreading");
    if (function) reinterpret_cast<int (*)(unsigned)>(function)(ONE);
#endif
}

class Worker {
public:
    Worker() {
        std::thread([this] { serve(); }).detach();
    }

    void give(const Share& share) {
        share_ = share;
        given_.store(given_.load(std::memory_order_relaxed) + 1);
        if (sleeping_.load()) {
            std::lock_guard<std::mutex> lock(mutex_);
            wake_.notify_one();
        }
    }

    // Waits for the worker. If the worker has not begun its share, because it sleeps or another process
    // uses its processor, the calling thread runs the share itself.
    void finish() {
        const uint32_t now = given_.load();
        if (claim(now)) {
            // If the worker misses several shares in a row, it may be waiting for this thread's processor:
            // see spread.
            if (missed_.fetch_add(1) == 3) processor_.store(Processors::current());
            run(share_);
            finished_.store(now);
            return;
        }
        const auto ready = [&] { return finished_.load(std::memory_order_acquire) == now; };
        while (!spin(std::chrono::microseconds(500), ready)) {}
    }

    bool taken = false;  // by a step; Team::mutex guards it

    // The processor that it last ran on; -1 if that is unknown.
    int processor() const { return processor_.load(std::memory_order_relaxed); }

    void keep_off(const Processors& taken) const {
        if (started_.load(std::memory_order_acquire)) taken.keep_off(thread_);
    }

private:
    // Returns true to the first thread that asks to run share number `now`, and false to the other. It looks
    // before it writes: to write takes the cache line away from the other thread.
    bool claim(uint32_t now) {
        uint32_t before = now - 1;
        return claimed_.load(std::memory_order_relaxed) == before &&
               claimed_.compare_exchange_strong(before, now);
    }

    void serve() {
        const FlushToZero mode;
        keep_products_to_this_thread();
        thread_ = Processors::this_thread();
        started_.store(true, std::memory_order_release);
        for (uint32_t seen = 0;;) {
            const auto ready = [&] { return given_.load() != seen; };
            if (!spin(std::chrono::microseconds(500), ready)) {
                std::unique_lock<std::mutex> lock(mutex_);
                sleeping_.store(true);
                wake_.wait(lock, ready);
                sleeping_.store(false);
            }
            processor_.store(Processors::current(), std::memory_order_relaxed);
            seen = given_.load();
            if (!claim(seen)) continue;
            missed_.store(0);
            run(share_);
            finished_.store(seen, std::memory_order_release);
        }
    }

    // Two cache lines: one that the calling thread writes for each share, one that the worker writes.
    alignas(CACHE_LINE) Share share_{};
    std::atomic<uint32_t> given_{0};
    std::atomic<bool> sleeping_{false};
    alignas(CACHE_LINE) std::atomic<uint32_t> claimed_{0};
    std::atomic<uint32_t> finished_{0}, missed_{0};
    std::atomic<int> processor_{-1};
    alignas(CACHE_LINE) std::mutex mutex_;
    std::condition_variable wake_;
    Processors::Thread thread_{};  // read it if started_ is true
    std::atomic<bool> started_{false};
};

// The workers are never destroyed, because their threads never end. A forked child has none of these
// threads, so it makes a new team.
struct Team {
    std::vector<Worker*> workers;
    std::mutex mutex;

    // Adds workers that no other thread has to `some` until it has `count`, out of at most `limit`. It adds
    // fewer if there is no memory or if the system starts no more threads: no error may leave a function
    // that C calls.
    void take(std::vector<Worker*>& some, size_t count, size_t limit) {
        std::lock_guard<std::mutex> lock(mutex);
        try {
            some.reserve(count);
            for (size_t k = 0; k < limit && some.size() < count; ++k) {
                if (k == workers.size()) {
                    workers.reserve(k + 1);
                    workers.push_back(new Worker);
                }
                if (workers[k]->taken) continue;
                workers[k]->taken = true;
                some.push_back(workers[k]);
            }
        } catch (const std::exception&) {}
    }

    // Gives back all but the first `count` of these workers.
    void give_back(std::vector<Worker*>& some, size_t count) {
        std::lock_guard<std::mutex> lock(mutex);
        for (; some.size() > count; some.pop_back()) some.back()->taken = false;
    }
};
std::atomic<Team*> team{nullptr};
#if !defined(_WIN32)  // which has no fork
std::atomic<bool> forgets_threads{false};  // whether a forked child forgets the team
#endif

// Returns the team, which the first call makes. No variable of this file may have an initialiser that runs
// when the library is loaded: in a library built ahead, those of all variants would run on every processor.
// Returns null if there is no memory.
Team* the_team() {
    Team* now = team.load();
    if (now) return now;
#if !defined(_WIN32)
    if (!forgets_threads.exchange(true))
        pthread_atfork(nullptr, nullptr, [] {
            team.store(nullptr);
            running.store(0);
        });
#endif
    Team* const made = new (std::nothrow) Team;
    if (team.compare_exchange_strong(now, made)) return made;
    delete made;  // another thread was faster
    return now;
}

// Linux sometimes leaves two spinning threads on one processor for a tenth of a second although another
// processor is idle. If a worker last ran on the processor of this thread or of another worker, it is
// moved: from now on it may run on any processor but these.
void spread(const std::vector<Worker*>& workers) {
    const int this_one = Processors::current();
    if (this_one < 0) return;
    Processors taken;
    taken.add(this_one);
    for (const Worker* worker : workers) {
        const int processor = worker->processor();
        if (processor < 0) continue;
        if (taken.has(processor)) worker->keep_off(taken);
        else taken.add(processor);
    }
}

// The workers that a thread has from its first shards until it leaves run_calls or run_repeated: to take
// them for every step would take longer than a small shard.
class Crew {
public:
    Crew() {
        running.fetch_add(1);
        crew = this;
    }

    ~Crew() {
        if (!workers_.empty()) team_->give_back(workers_, 0);
        crew = nullptr;
        running.fetch_sub(1);
    }

    // Returns the workers for so many shards. Threads that run steps at the same time have at most `threads`
    // threads together: if another one has begun, this one gives workers back.
    const std::vector<Worker*>& workers(int64_t shards, int64_t threads) {
        const int64_t fair = std::max<int64_t>(1, threads / std::max(1, running.load()));
        const size_t most = fair - 1, wanted = std::min(shards, fair) - 1;
        if (workers_.size() > most) team_->give_back(workers_, most);
        if (team_ && workers_.size() < wanted) team_->take(workers_, wanted, threads - 1);
        spread(workers_);
        return workers_;
    }

    static thread_local Crew* crew;

private:
    Team* const team_ = the_team();
    std::vector<Worker*> workers_;
};
thread_local Crew* Crew::crew = nullptr;

}  // namespace

EXPORTED(void, run_calls)(const Calls* list) {
    const FlushToZero mode;
    Crew crew;
    run(*list);
}

// Runs a list of calls again and again: `times` times, or until that has taken so many nanoseconds. Returns
// how often it has run the list, which is at least once.
EXPORTED(int64_t, run_repeated)(const Calls* list, int64_t times, int64_t longest) {
    using Clock = std::chrono::steady_clock;
    const auto end = Clock::now() + std::chrono::nanoseconds(longest);
    const FlushToZero mode;
    Crew crew;
    int64_t done = 0;
    do {
        run(*list);
        ++done;
    } while (done < times && Clock::now() < end);
    return done;
}

// Runs the shards of a step; the first runs in this thread. Steps that run at the same time share the
// threads. How many threads a step gets changes no result, because each shard has memory of its own.
EXPORTED(void, run_shards)(const Slot* s) {  // shards, count, threads of all steps together
    const Calls* shards = array<const Calls>(s[0]);
    const int64_t count = s[1].integer, threads = s[2].integer;
    const auto& workers = Crew::crew->workers(count, threads);
    const int64_t n = std::min<int64_t>(count, workers.size() + 1);
    for (int64_t k = 1; k < n; ++k) workers[k - 1]->give(Share{shards, k, count, n});
    run(Share{shards, 0, count, n});
    for (int64_t k = 1; k < n; ++k) workers[k - 1]->finish();
}
