"""The chart's scripts: wait.py knows who is meant by a variable, waits for him, and gives up in time."""

import os
import re
import runpy
import socket
import subprocess
import sys
from typing import Any

import pytest

from chart_renders import CHART, of_scenario, one

WAIT = CHART / "files/scripts/wait.py"
_FUNCTIONS: dict[str, Any] = runpy.run_path(str(WAIT))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kafka.ns.svc:9092", [("kafka.ns.svc", 9092)]),
        ("a:1,b:2", [("a", 1), ("b", 2)]),
        ("postgresql://tandem:pass@db:6543/tandem", [("db", 6543)]),
        ("postgresql://tandem:p%40ss:word@db/tandem?sslmode=require", [("db", 5432)]),
        ("postgresql+psycopg2://mlflow:x@db.ns.svc:5432/mlflow_db", [("db.ns.svc", 5432)]),
        ("redis://:secret@cache:6379/0", [("cache", 6379)]),
        ("https://mlflow.example", [("mlflow.example", 443)]),
        ("http://[::1]:5000/path", [("::1", 5000)]),
        ("ws://tandem-recycler:8080/v2/iex", [("tandem-recycler", 8080)]),
    ],
)
def test_who_is_meant(text: str, expected: list[tuple[str, int]]) -> None:
    """URLs and lists of servers; users and passwords are left out."""
    assert _FUNCTIONS["addresses"](text) == expected


def test_it_waits_until_everybody_listens() -> None:
    """It names who is missing, never a password, and ends when the last one is there. One server of a list is enough."""
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        first.listen()
        port = second.getsockname()[1]
        environ = {
            **os.environ,
            "A": f"127.0.0.1:{first.getsockname()[1]},127.0.0.1:1",
            "B": f"postgresql://user:hidden@127.0.0.1:{port}/x",
        }
        process = subprocess.Popen([sys.executable, str(WAIT), "A", "B"], env=environ, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        assert re.fullmatch(rf"waiting for 127\.0\.0\.1:{port} since \d+ s\n", process.stderr.readline())
        second.listen()
        assert process.wait(timeout=60) == 0
        assert "hidden" not in process.stderr.read()
        process.stderr.close()


def test_it_gives_up() -> None:
    """With exit code 1, so that the pod is seen to wait in vain."""
    code = f"import runpy, sys; g = runpy.run_path({str(WAIT)!r}); f = g['main']; f.__globals__['LIMIT_S'] = 0.0; sys.exit(f(['A']))"
    environ = {**os.environ, "A": "127.0.0.1:1"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "gave up" in done.stderr) == (1, True)


def test_scripts_reach_the_pods() -> None:
    """As they lie."""
    data = one(of_scenario("default"), "ConfigMap", "tandem-scripts")["data"]
    assert {name: text.rstrip() for name, text in data.items()} == {
        path.name: path.read_text().rstrip() for path in (CHART / "files/scripts").glob("*.py")
    }
