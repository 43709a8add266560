// Kernels that prepare a batch: gather its rows, make one-hot targets, normalise weights.
namespace {

// The addresses of a step's rows. source.py writes them before each replay.
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
    switch (source.type) {  // in the order of source.py's SOURCE_TYPES
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
