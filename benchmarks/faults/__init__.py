"""What hostile bytes do to everything that reads the bytes of strangers: see `python -m benchmarks.faults --help`."""
