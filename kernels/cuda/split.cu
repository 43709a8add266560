// values = high + low, two numbers of a narrow type. Where `high` is infinite or NaN, `low` is 0.
//
// grid and block: by rows (launch.py).
extern "C" __global__ void split(const float* __restrict__ values, T* high, T* low, long long rows, int columns) {
    by_rows(rows, columns, [=](long long row, int column) {
        const long long first = row * columns + column;
        const auto given = load(values + first);
        Vector<T> rounded, rest;
        for (int k = 0; k < VECTOR; ++k) {
            rounded.value[k] = T(given.value[k]);
            const float left = given.value[k] - compute(rounded.value[k]);
            rest.value[k] = T(left - left == 0.0f ? left : 0.0f);
        }
        store(high + first, rounded);
        store(low + first, rest);
    });
}
