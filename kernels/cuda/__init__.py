"""CUDA: the kernels' .cu files, and how text becomes a kernel of CuPy's."""
