"""The kernels' .cu files, and the code that makes CuPy kernels from text."""
