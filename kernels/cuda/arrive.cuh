// What blocks of one launch share: the last of them to arrive goes on with what all have left.

// Counts a block that has left its sums in memory; returns how many have before. What this thread wrote, or
// waited for in a barrier, is seen by whoever counts later, and by the threads that then wait for that one.
__device__ __forceinline__ unsigned int arrive(unsigned int* arrivals) {
#ifdef __CUDACC__  // release and acquire cost less than the fences of atomicAdd
    unsigned int before;
    asm volatile("atom.add.acq_rel.gpu.u32 %0, [%1], 1;" : "=r"(before) : "l"(arrivals) : "memory");
    return before;
#else  // the tests' emulation
    return atomicAdd(arrivals, 1u);
#endif
}
