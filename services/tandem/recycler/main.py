"""`python -m tandem.recycler.main`: the command of cli.py without the rest of the CLI, which is how the local platform starts it."""

import typer

from tandem.recycler.cli import recycler

if __name__ == "__main__":
    typer.run(recycler)
