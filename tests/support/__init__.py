"""The tests' replacement for a GPU.

`cupy_on_host` runs CuPy on emulated devices. `nvidia` calls NVIDIA's compiler, which needs no device.
"""
