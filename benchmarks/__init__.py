"""Measured figures: each module prints one figure with the machine's facts and is run by `make benchmarks`."""
