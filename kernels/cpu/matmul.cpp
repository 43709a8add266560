// out = alpha op(a) op(b) + beta out, by BLAS's gemm, in steps. The outer loop goes over parts of the rows,
// the next over parts of the columns, the inner over parts of the inner dimension. BLAS stores matrices by
// columns.
#include <algorithm>

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
