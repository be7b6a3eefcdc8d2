"""Runs the commands that the documentation tells a reader to run. `make docs-check`."""
