"""The names that the options of `gpubp bench` take, without the modules that they come from.

Completion and help need them at once. A test compares them with the tables of the benchmark.
"""

__all__ = ["ARCHITECTURES", "BATCH_SIZES", "CONTENDERS", "DATA", "DISTINCT_ROWS", "OPTIMIZERS"]

ARCHITECTURES = (
    "classifier", "narrow", "narrow-6x64", "regression", "wide", "tanh-4", "tanh-24", "relu-10", "relu-64",
    "gelu-48", "silu-13",
)  # fmt: skip

BATCH_SIZES = (1, 32, 128, 512, 2048, 8192, 65536)

DISTINCT_ROWS = 8192

OPTIMIZERS = ("sgd", "adam")

CONTENDERS = (
    "gpubp-numpy", "gpubp-numpy-fit", "torch", "torch-1-thread", "torch-compile", "torch-compile-1-thread",
    "jax", "jax-scan", "scikit-learn", "onnxruntime", "onnxruntime-1-thread", "openvino",
    "openvino-1-thread", "gpubp-cupy", "gpubp-cupy-launched", "torch-cuda", "torch-cuda-compile",
    "torch-cuda-graph", "jax-cuda",
)  # fmt: skip

DATA = ("digits", "breast-cancer", "diabetes", "few-rows", "housing", "cover", "text")
