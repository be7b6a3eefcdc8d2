"""Starts services out of one process that has imported everything once, so that a start costs a fork and not three seconds of imports.

multiprocessing's fork server does it: each service is a process of its own, by its own main module, with its own environment, log and
session, and is killed like any other. With `cold` every service is a fresh interpreter, as `tandem up` starts it.
"""

import multiprocessing
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from chaos import clock
from tandem.local.endpoints import Service

_PRELOADED = (
    *("tandem.recycler.app", "tandem.recycler.cli", "tandem.ingestor.main", "tandem.recorder.main", "tandem.portfolio.main"),
    *(
        "tandem.forecaster.service",
        "tandem.forecaster.main",
        "mlflow.artifacts",
        "mlflow.store.tracking.sqlalchemy_store",
        "time_machine",
        "chaos.launch",
        "chaos.warm",
    ),
)
_END_S = 15


class Running(Protocol):
    """A started service."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        ...


class Launcher:
    """The one that starts services."""

    def __init__(self, folder: Path, *, cold: bool) -> None:
        self._cold = cold
        os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
        os.environ.update({"BENTOML_DO_NOT_TRACK": "True", "MLFLOW_DISABLE_TELEMETRY": "true", "BENTOML_HOME": str(folder / "bentoml")})
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(_PRELOADED))

    def start(self, service: Service, folder: Path) -> Running:
        """Start a service; its log in the folder is added to, and `clock_file` there rules its clock."""
        log = folder / f"{service.name}.log"
        return _Cold(service, log) if self._cold else _Forked(self._context, service, log)


def clock_file(folder: Path, name: str) -> Path:
    """Where it stands how far a service's clock is off."""
    return folder / f"{name}.clock"


class _Forked:
    def __init__(self, context: multiprocessing.context.ForkServerContext, service: Service, log: Path) -> None:
        module, options = service.argv[2], service.argv[3:]
        arguments = (module, options, dict(service.env), str(log), str(clock_file(log.parent, service.name)))
        self._process = context.Process(target=_become, args=arguments, name=service.name, daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        pid = self._process.pid
        assert pid is not None
        return pid

    @property
    def exit_code(self) -> int | None:
        return self._process.exitcode


class _Cold:
    def __init__(self, service: Service, log: Path) -> None:
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                _clocked(service, log.parent),
                env={**os.environ, **service.env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()


def _clocked(service: Service, folder: Path) -> tuple[str, ...]:
    """python -m MODULE OPTIONS, under the file's clock."""
    python, option, *rest = service.argv
    return (python, option, "chaos.clock", str(clock_file(folder, service.name)), *rest)


def _become(module: str, options: tuple[str, ...], env: Mapping[str, str], log: str, clock_path: str) -> None:
    """In the new process: be the service."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.environ.update(env)
    if module == "tandem.forecaster.main":
        _count_as_many()
    clock.main([clock_path, module, *options])


def _count_as_many() -> None:
    """BentoML's metrics: prometheus_client chose how to count when it was imported, before there was a folder to count in."""
    from prometheus_client import values

    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(Path(os.environ["BENTOML_HOME"]) / "series")
    values.ValueClass = values.get_value_class()
