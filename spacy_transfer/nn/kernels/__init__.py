"""Compiled kernels for the CPU. Nothing here is imported until it is needed: numba is optional."""
