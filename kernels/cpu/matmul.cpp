// out = alpha op(a) op(b) + beta out, by BLAS's gemm, in steps. The outer loop goes over parts of the rows,
// the next over parts of the columns, the inner over parts of the inner dimension. BLAS stores matrices by
// columns.
#include <algorithm>

// The three products of a layer with one output: gemm would copy their operands into blocks first.
// z = a wᵀ, δ w and δᵀ a, where w is one row and δ one column. The function returns false for others.
template <typename T>
static bool one_output(const T* a, const T* b, T* out, const int64_t* sizes, bool transpose_a,
                       bool transpose_b, T alpha, T beta) {
    const int64_t rows = sizes[0], columns = sizes[1], inner = sizes[2];
    const int64_t leading_a = sizes[6], leading_b = sizes[7], leading_out = sizes[8];
    if (columns == 1 && !transpose_a && transpose_b) {
        for (int64_t i = 0; i < rows; ++i, a += leading_a, out += leading_out) {
            T sum = 0;
            for (int64_t k = 0; k < inner; ++k) sum += a[k] * b[k];
            *out = alpha * sum + (beta ? beta * *out : 0);
        }
        return true;
    }
    if (inner == 1 && !transpose_a && !transpose_b) {
        for (int64_t i = 0; i < rows; ++i, a += leading_a, out += leading_out) {
            const T factor = alpha * *a;
            T* __restrict__ row = out;
            if (beta)
                for (int64_t j = 0; j < columns; ++j) row[j] = factor * b[j] + beta * row[j];
            else
                for (int64_t j = 0; j < columns; ++j) row[j] = factor * b[j];
        }
        return true;
    }
    if (rows == 1 && transpose_a && !transpose_b) {
        T* __restrict__ row = out;
        for (int64_t j = 0; j < columns; ++j) row[j] = beta ? beta * row[j] : 0;
        int64_t k = 0;
        for (; k + 4 <= inner; k += 4, a += 4 * leading_a, b += 4 * leading_b) {
            const T f0 = alpha * a[0], f1 = alpha * a[leading_a], f2 = alpha * a[2 * leading_a],
                    f3 = alpha * a[3 * leading_a];
            const T *b1 = b + leading_b, *b2 = b1 + leading_b, *b3 = b2 + leading_b;
            for (int64_t j = 0; j < columns; ++j)
                row[j] += f0 * b[j] + f1 * b1[j] + (f2 * b2[j] + f3 * b3[j]);
        }
        for (; k < inner; ++k, a += leading_a, b += leading_b)
            for (int64_t j = 0; j < columns; ++j) row[j] += alpha * *a * b[j];
        return true;
    }
    return false;
}

KERNEL(matmul) {  // gemm, transposed (1: a, 2: b), a, b, out, sizes, alpha, beta
    using Gemm = void (*)(const char*, const char*, const int*, const int*, const int*, const T*, const T*,
                          const int*, const T*, const int*, const T*, T*, const int*);
    const Gemm gemm = reinterpret_cast<Gemm>(s[0].pointer);
    const bool transpose_a = s[1].integer & 1, transpose_b = s[1].integer & 2;
    const int64_t* sizes = array<const int64_t>(s[5]);
    const int64_t rows = sizes[0], columns = sizes[1], inner = sizes[2];
    const int leading_a = int(sizes[6]), leading_b = int(sizes[7]), leading_out = int(sizes[8]);
    const T alpha = T(s[6].real), beta = T(s[7].real), one = 1;
    if (one_output(array<const T>(s[2]), array<const T>(s[3]), array<T>(s[4]), sizes, transpose_a, transpose_b,
                   alpha, beta))
        return;
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
