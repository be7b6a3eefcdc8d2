"""The MLflow server as one process: `python -m tandem.local.mlflow_server`, started by local/mlflow.py with everything in the environment.

`mlflow server` imports MLflow in a first process, brings the schema up to date there, then imports everything again in a second one that
serves. Here one process does both; and it imports while Postgres still starts, since it is started at the same time.
"""

import os
import sys
import time
import uuid

BACKEND_ENV = "TANDEM_MLFLOW_BACKEND_URL"  # of Postgres, as SQLAlchemy takes it
ARTIFACTS_ENV = "TANDEM_MLFLOW_ARTIFACTS"  # a folder; clients write through the server
PORT_ENV = "TANDEM_PORT"
_DATABASE_WAIT_S = 120  # initdb on a busy machine


def main() -> None:
    """Serve until SIGTERM. Exit code 2: Postgres did not come up."""
    # What `mlflow server` hands to its second process; read when mlflow.server is imported.
    os.environ["_MLFLOW_SERVER_FILE_STORE"] = os.environ[BACKEND_ENV]
    os.environ["_MLFLOW_SERVER_SERVE_ARTIFACTS"] = "true"
    os.environ["_MLFLOW_SERVER_ARTIFACT_DESTINATION"] = os.environ[ARTIFACTS_ENV]
    os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"] = "mlflow-artifacts:/"
    os.environ["_MLFLOW_SGI_NAME"] = "uvicorn"
    os.environ["_MLFLOW_SERVER_BOOT_ID"] = uuid.uuid4().hex  # marks a server, in which MLflow never runs code that comes with a model
    os.environ["_MLFLOW_IN_JOB_EXECUTOR"] = "false"

    started_s = time.monotonic()
    import uvicorn  # noqa: PLC0415  see above
    from mlflow.server import fastapi_app, handlers  # noqa: PLC0415

    from tandem.adapters.postgres import connect  # noqa: PLC0415
    from tandem.domain.errors import Transient  # noqa: PLC0415

    _say("imported", started_s)
    while True:
        try:
            connect(os.environ[BACKEND_ENV], application="mlflow").close()
            break
        except Transient as error:
            if time.monotonic() - started_s > _DATABASE_WAIT_S:
                print(f"mlflow: {error}", file=sys.stderr)
                sys.exit(2)
            time.sleep(0.1)
    _say("database is there", started_s)
    handlers.initialize_backend_stores(os.environ[BACKEND_ENV], os.environ[BACKEND_ENV], "mlflow-artifacts:/")
    _say("schema is there", started_s)
    uvicorn.run(fastapi_app.app, host="127.0.0.1", port=int(os.environ[PORT_ENV]), log_level="warning", access_log=False)


def _say(what: str, started_s: float) -> None:
    print(f"mlflow: {what} after {time.monotonic() - started_s:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
