"""`tandem up`, `status` and `down` as a user calls them."""

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[1]


def tandem(home: Path, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run the command in an environment that names no server, and has these settings only."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("TANDEM_") and name != "MLFLOW_TRACKING_URI"}
    env |= settings
    command = [sys.executable, "-m", "tandem.cli.main", *arguments, "--home", str(home)]
    return subprocess.run(command, env=env, cwd=_ROOT, capture_output=True, text=True, check=False, timeout=500)
