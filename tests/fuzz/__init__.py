"""Fuzzers of what reads bytes from outside: `python -m fuzz.NAME CORPUS -runs=N` within tests/; the suite runs each for a short while."""
