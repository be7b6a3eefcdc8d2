"""The images' health check: a success only for an answer that is one."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tandem import health

FILE = Path(health.__file__)


class _Service(BaseHTTPRequestHandler):
    """Alive at /livez, not ready at /readyz."""

    def do_GET(self) -> None:
        alive = self.path == "/livez"
        self.send_response(200 if alive else 503)
        self.end_headers()
        self.wfile.write(b"ok" if alive else b"rebuilding")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """Of a service."""
    server = HTTPServer(("127.0.0.1", 0), _Service)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_service_that_answers_lives(port: int) -> None:
    """200, and nothing to say."""
    assert health.check(f"http://127.0.0.1:{port}/livez") is None


def test_an_answer_that_is_no_success_is_told_with_its_text(port: int) -> None:
    """So that `docker inspect` shows why."""
    assert health.check(f"http://127.0.0.1:{port}/readyz") == f"http://127.0.0.1:{port}/readyz answers 503: rebuilding"


def test_a_port_without_a_listener_is_told() -> None:
    """A process that is up and does not serve."""
    assert "refused" in str(health.check("http://127.0.0.1:1/livez"))


def test_only_http_is_asked() -> None:
    """Not a file of the image."""
    assert "not an http" in str(health.check("file:///etc/passwd"))


def test_the_environment_names_the_port(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without arguments, as the images call it; a proxy of the environment is for others."""
    monkeypatch.setenv("TANDEM_PORT", str(port))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert health.main([]) == 0
    assert health.main([f"http://127.0.0.1:{port}/readyz"]) == 1


def test_a_wrong_use_is_told_apart_from_a_dead_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 2."""
    monkeypatch.delenv("TANDEM_PORT", raising=False)
    assert health.main([]) == 2
    assert health.main(["http://127.0.0.1:1", "http://127.0.0.1:2"]) == 2


def test_it_runs_as_a_single_file_without_a_package(port: int) -> None:
    """As in MLflow's image: isolated from every installed package."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", FILE, f"http://127.0.0.1:{port}/livez"], capture_output=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
