// The runtime: runs a list of calls without Python, and runs the shards of a step at the same time.
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

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

    // Waits for the worker. If the worker has not begun its shard, because it sleeps or another process
    // uses its processor, the calling thread runs the shard itself.
    void finish() {
        const uint32_t now = given_.load();
        if (claim(now)) {
#ifdef __linux__
            // If the worker misses several shards in a row, it may be waiting for this thread's processor:
            // see spread.
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
    // Returns true to the first thread that asks to run shard number `now`, and false to the other.
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

// The workers are never destroyed, because their threads never end. A forked child has none of these
// threads, so it makes a new team.
struct Team {
    std::vector<Worker*> workers;
    std::mutex in_use;
};
Team* team = new Team;
const int forgets_threads = pthread_atfork(nullptr, nullptr, [] { team = new Team; });

// Linux sometimes leaves two spinning threads on one processor for a tenth of a second although another
// processor is idle. If a worker last ran on the processor of this thread or of another worker, it is
// moved: from now on it may run on any processor but these.
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

extern "C" void run_shards(const Slot* s) {  // shards, count; the first shard runs in this thread
    const Shard* shards = array<const Shard>(s[0]);
    const size_t others = s[1].integer - 1;
    std::lock_guard<std::mutex> lock(team->in_use);
    while (team->workers.size() < others) team->workers.push_back(new Worker);
    spread(team->workers);
    for (size_t k = 0; k < others; ++k) team->workers[k]->give(shards[k + 1]);
    run_calls(shards[0].calls, shards[0].count);
    for (size_t k = 0; k < others; ++k) team->workers[k]->finish();
}
