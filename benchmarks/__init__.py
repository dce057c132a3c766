"""The figures that limen promises, each measured beside its floor in one run: ``make bench``."""
