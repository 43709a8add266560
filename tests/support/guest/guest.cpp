// Runs compiled kernels for another process. It may itself be run by an emulator, so it has no Python.
//
// It reads requests from its input, and answers each on its output. All numbers are little-endian and have
// eight bytes; a text is its length and its bytes.
//
//     find   library, name                       -> 1 if the library has the function, else 0
//     run    functions, pieces, pointers, list   -> how often the list ran, the bytes that changed
//
// Before an answer comes the text of an error, or "".
//
// A piece of memory keeps its address modulo ALIGNMENT. `pointers` are the addresses of words that hold an
// address, all in the sender's memory: that of a piece's byte, or the number of a function. Each piece has
// room around it that nobody may write to.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace {

constexpr uint64_t ALIGNMENT = 64, ROOM = 256;
constexpr unsigned char UNTOUCHED = 0xa5;

struct Piece {
    uint64_t address, size;
    std::vector<unsigned char> memory, before;
    unsigned char* data;

    Piece(uint64_t address, uint64_t size)
        : address(address), size(size), memory(size + 2 * ROOM + ALIGNMENT, UNTOUCHED) {
        const uint64_t first = reinterpret_cast<uint64_t>(memory.data()) + ROOM;
        data = memory.data() + ROOM + (address - first) % ALIGNMENT;
    }
    Piece(Piece&&) = default;

    bool is_whole() const {
        const unsigned char *begin = memory.data(), *end = begin + memory.size();
        for (const unsigned char* byte = begin; byte < end; ++byte) {
            if (byte == data) byte += size;
            if (*byte != UNTOUCHED) return false;
        }
        return true;
    }
};

struct Call {
    void (*function)(const void*);
    uint64_t arguments[15];
};

struct Calls {
    const Call* calls;
    int64_t count;
};

void read(void* to, uint64_t size) {
    if (std::fread(to, 1, size, stdin) != size) std::_Exit(0);
}
void write(const void* from, uint64_t size) { std::fwrite(from, 1, size, stdout); }

uint64_t read_number() {
    uint64_t number;
    read(&number, 8);
    return number;
}
void write_number(uint64_t number) { write(&number, 8); }

std::string read_text() {
    std::string text(read_number(), ' ');
    read(&text[0], text.size());
    return text;
}
void write_text(const std::string& text) {
    write_number(text.size());
    write(text.data(), text.size());
}

// BLAS's product by columns: c = alpha op(a) op(b) + beta c.
template <typename T>
void gemm(const char* transpose_a, const char* transpose_b, const int* rows, const int* columns, const int* inner,
          const T* alpha, const T* a, const int* leading_a, const T* b, const int* leading_b, const T* beta, T* c,
          const int* leading_c) {
    const int64_t lda = *leading_a, ldb = *leading_b, ldc = *leading_c;
    const int64_t row_a = *transpose_a == 'T' ? lda : 1, inner_a = *transpose_a == 'T' ? 1 : lda;
    const int64_t inner_b = *transpose_b == 'T' ? ldb : 1, column_b = *transpose_b == 'T' ? 1 : ldb;
    for (int64_t j = 0; j < *columns; ++j)
        for (int64_t i = 0; i < *rows; ++i) {
            double sum = 0;
            for (int64_t k = 0; k < *inner; ++k)
                sum += double(a[i * row_a + k * inner_a]) * double(b[k * inner_b + j * column_b]);
            T& to = c[i + j * ldc];
            to = T(*alpha * sum + (*beta != 0 ? double(*beta) * to : 0.0));
        }
}

void* open(const std::string& library) {
    static std::map<std::string, void*> opened;
    void*& handle = opened[library];
    if (!handle) {
#ifdef _WIN32
        handle = reinterpret_cast<void*>(LoadLibraryA(library.c_str()));
        if (!handle) throw std::runtime_error("error " + std::to_string(GetLastError()) + " for " + library);
#else
        handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (!handle) throw std::runtime_error(dlerror());
#endif
    }
    return handle;
}

// Returns the address of a function, or null. The guest's own functions are in the library "".
void* find(const std::string& library, const std::string& name) {
    if (library.empty()) {
        if (name == "sgemm") return reinterpret_cast<void*>(gemm<float>);
        if (name == "dgemm") return reinterpret_cast<void*>(gemm<double>);
        return nullptr;
    }
#ifdef _WIN32
    return reinterpret_cast<void*>(GetProcAddress(reinterpret_cast<HMODULE>(open(library)), name.c_str()));
#else
    return dlsym(open(library), name.c_str());
#endif
}

template <typename Function> Function found(const std::string& library, const std::string& name) {
    void* const function = find(library, name);
    if (!function) throw std::runtime_error(library + " has no function " + name);
    return reinterpret_cast<Function>(function);
}

Piece& piece_of(std::map<uint64_t, Piece>& pieces, uint64_t address) {
    auto next = pieces.upper_bound(address);
    if (next != pieces.begin() && address - std::prev(next)->first < std::prev(next)->second.size)
        return std::prev(next)->second;
    throw std::runtime_error("no piece of memory has the address " + std::to_string(address));
}

// Runs a list of calls: once by the runtime, several times by it, or once without it if `runtime` is "". The
// runtime's functions have names that begin with `prefix`.
int64_t run(const std::string& runtime, const std::string& prefix, const Calls& list, int64_t times,
            int64_t nanoseconds) {
    if (runtime.empty()) {
        for (int64_t k = 0; k < list.count; ++k) list.calls[k].function(list.calls[k].arguments);
        return 1;
    }
    if (times > 1)
        return found<int64_t (*)(const Calls*, int64_t, int64_t)>(runtime, prefix + "run_repeated")(&list, times,
                                                                                          nanoseconds);
    found<void (*)(const Calls*)>(runtime, prefix + "run_calls")(&list);
    return 1;
}

// Writes the changes as whole words, so that they are few.
void write_changes(const Piece& piece) {
    for (uint64_t first = 0; first < piece.size;) {
        const auto differs = [&](uint64_t at) {
            return std::memcmp(piece.data + at, piece.before.data() + at, std::min<uint64_t>(8, piece.size - at));
        };
        if (!differs(first)) {
            first += 8;
            continue;
        }
        uint64_t end = first;
        while (end < piece.size && differs(end)) end += 8;
        end = std::min(end, piece.size);
        write_number(end - first);
        write_number(piece.address + first);
        write(piece.data + first, end - first);
        first = end;
    }
}

void run_request() {
    // The whole request is read before anything can fail.
    std::map<uint64_t, std::pair<std::string, std::string>> functions;
    for (uint64_t left = read_number(); left > 0; --left) {
        const uint64_t number = read_number();
        const std::string library = read_text();
        functions[number] = {library, read_text()};
    }
    std::map<uint64_t, Piece> pieces;
    for (uint64_t left = read_number(); left > 0; --left) {
        const uint64_t address = read_number(), size = read_number();
        read(pieces.emplace(address, Piece(address, size)).first->second.data, size);
    }
    std::vector<uint64_t> pointers(read_number());
    read(pointers.data(), 8 * pointers.size());
    const std::string runtime = read_text(), prefix = read_text();
    const uint64_t list = read_number();
    const int64_t times = read_number(), nanoseconds = read_number();
    int64_t done = 0;
    try {
        for (const uint64_t pointer : pointers) {
            Piece& holder = piece_of(pieces, pointer);
            uint64_t word;
            std::memcpy(&word, holder.data + (pointer - holder.address), 8);
            const auto function = functions.find(word);
            if (function != functions.end()) {
                word = found<uint64_t>(function->second.first, function->second.second);
            } else if (word) {
                const Piece& target = piece_of(pieces, word);
                word = reinterpret_cast<uint64_t>(target.data + (word - target.address));
            }
            std::memcpy(holder.data + (pointer - holder.address), &word, 8);
        }
        for (auto& each : pieces) each.second.before.assign(each.second.data, each.second.data + each.second.size);
        const Piece& holder = piece_of(pieces, list);
        Calls calls;
        std::memcpy(&calls, holder.data + (list - holder.address), sizeof calls);
        done = run(runtime, prefix, calls, times, nanoseconds);
        for (const auto& each : pieces)
            if (!each.second.is_whole()) throw std::runtime_error("a kernel wrote outside its arrays");
    } catch (const std::exception& error) {
        write_text(error.what());
        return;
    }
    write_text("");
    write_number(done);
    for (const auto& each : pieces) write_changes(each.second);
    write_number(0);
}

void find_request() {
    const std::string library = read_text(), name = read_text();
    try {
        const bool has = find(library, name);
        write_text("");
        write_number(has);
    } catch (const std::exception& error) {
        write_text(error.what());
    }
}

}  // namespace

int main() {
#ifdef _WIN32
    _setmode(_fileno(stdin), _O_BINARY);
    _setmode(_fileno(stdout), _O_BINARY);
    // Otherwise Wine's debugger would write to the output.
    SetUnhandledExceptionFilter([](EXCEPTION_POINTERS* pointers) -> LONG {
        TerminateProcess(GetCurrentProcess(), pointers->ExceptionRecord->ExceptionCode);
        return EXCEPTION_EXECUTE_HANDLER;
    });
#endif
    for (;;) {
        const uint64_t kind = read_number();
        if (kind == 0) find_request();
        else run_request();
        std::fflush(stdout);
    }
}
