"""`python -m tandem.recycler.main`: the command of cli.py without the rest of the CLI, which is how the local platform starts it."""

from tandem.recycler.cli import app

if __name__ == "__main__":
    app()
