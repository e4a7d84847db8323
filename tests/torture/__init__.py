"""The long form of the fault tests: ``python -m tests.torture --minutes 30 --seed 1``."""
