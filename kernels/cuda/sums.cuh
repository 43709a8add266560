// Blocks of a multiprocessor. Two leave a thread 64 registers, which are too few on Blackwell: the compiler
// would store some in memory.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
constexpr int BLOCKS_AT_ONCE = 1;
#else
constexpr int BLOCKS_AT_ONCE = 2;
#endif
