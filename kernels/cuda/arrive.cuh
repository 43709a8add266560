// Counts the blocks of one launch that have written their sums. The last block to arrive adds the sums of
// all.

// Counts this block; returns how many were counted before. The writes of this thread, and those it has seen
// through a barrier, are visible to every thread that counts later, and to the threads that wait for it in
// a barrier.
__device__ __forceinline__ unsigned int arrive(unsigned int* arrivals) {
#ifdef __CUDACC__  // release and acquire cost less than the fences of atomicAdd
    unsigned int before;
    asm volatile("atom.add.acq_rel.gpu.u32 %0, [%1], 1;" : "=r"(before) : "l"(arrivals) : "memory");
    return before;
#else  // the tests' emulation
    return atomicAdd(arrivals, 1u);
#endif
}
