"""Benchmarks against the real service as a process. ``python -m tests.bench --help``."""
