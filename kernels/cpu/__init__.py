"""The kernels compiled for the CPU: how text becomes a library, and the runtime that makes its calls."""
