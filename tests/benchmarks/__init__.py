"""The benchmarks themselves are tested; what they measure is not."""
