"""The benchmark suite: gpubp side by side with other libraries, on one machine, in one run."""
