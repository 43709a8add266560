"""Compiled kernels that run in another process, the guest, which an emulator may run.

So the tests of kernels and steps, which are Python, examine kernels that are compiled for another
processor or system. `targets` says how they are compiled and run, `process` talks to the guest, and
`stand_ins` puts it in the place of the libraries that `gpubp.kernels.cpu` loads.
"""
