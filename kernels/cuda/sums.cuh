// The number of blocks on a multiprocessor. With two, a thread has 64 registers. On Blackwell these are too
// few: the compiler would spill some to memory.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
constexpr int BLOCKS_AT_ONCE = 1;
#else
constexpr int BLOCKS_AT_ONCE = 2;
#endif
