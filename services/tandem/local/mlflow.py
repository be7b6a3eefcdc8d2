"""The embedded MLflow server on Postgres, artifacts proxied from a folder of the home. Called by platform.py and the tests."""

import sys
from pathlib import Path

from tandem.adapters.postgres import sqlalchemy_url
from tandem.local.mlflow_server import ARTIFACTS_ENV, BACKEND_ENV, PORT_ENV
from tandem.local.probes import HOST
from tandem.local.processes import Command, StopPhase


def command(folder: Path, port: int, database_url: str) -> Command:
    """How to start it; it waits for the database by itself and is ready when the schema is up to date."""
    temporary = folder / "tmp"  # MLflow locks the migration through a file in the temporary folder, which another user may own in /tmp
    temporary.mkdir(parents=True, exist_ok=True)
    return Command(
        name="mlflow",
        argv=(sys.executable, "-m", "tandem.local.mlflow_server"),
        env={
            BACKEND_ENV: sqlalchemy_url(database_url),
            ARTIFACTS_ENV: str(folder / "artifacts"),
            PORT_ENV: str(port),
            "TMPDIR": str(temporary),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_SERVER_ALLOWED_HOSTS": f"{HOST}:{port},localhost:{port}",
        },
        cwd=folder,
        port=port,
        ready_url=f"{url(port)}/health",
        stop_phase=StopPhase.MARKET,
    )


def url(port: int) -> str:
    """How clients connect."""
    return f"http://{HOST}:{port}"
