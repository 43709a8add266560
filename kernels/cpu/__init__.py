"""The kernels compiled for the CPU: their build, and the runtime that runs lists of their calls."""
