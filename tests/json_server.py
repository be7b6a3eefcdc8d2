"""A server on a free port of 127.0.0.1 that answers GET with JSON by its path: for answers that a recycler never gives."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class World:
    """Answers by path, status and body; what was asked is kept."""

    def __init__(self, answers: dict[str, tuple[int, Any]]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, list[str]]]] = []


@contextmanager
def json_server(answers: dict[str, tuple[int, Any]]) -> Iterator[tuple[World, str]]:
    """The answers, which may be changed, and the server's address. A path without an answer is a 404."""
    world = World(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            world.asked.append((parts.path, parse_qs(parts.query)))
            status, body = world.answers.get(parts.path, (404, {"message": "not found"}))
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Nothing on the test's output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield world, f"http://127.0.0.1:{server.server_address[1]}"
    finally:  # also after a test that failed: the thread would keep the whole session from its end
        server.shutdown()
        thread.join()
        server.server_close()
