"""The tests' replacement for a GPU: CuPy on emulated devices (`cupy_on_host`), and NVIDIA's compiler,
which needs no device (`nvidia`)."""
