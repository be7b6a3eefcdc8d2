"""A gate before an HTTP server: closed, the server is away for whoever comes through it, while it goes on for everybody else."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from free_ports import free_port

HOST = "127.0.0.1"


class Gate:
    """Forwards connections while it is open. The server is named as it knows itself: MLflow refuses other hosts."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._held: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.port = free_port()  # not the kernel's choice: nobody else may get it while the gate is closed
        self.open()

    def open(self) -> None:
        """Let through."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, self.port))
        listener.listen()
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def close(self) -> None:
        """Refuse, and cut what is open."""
        listener, self._listener = self._listener, None
        held, self._held = self._held, []
        for one in (*([listener] if listener else []), *held):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
                far = socket.create_connection(self._target)
            except OSError:
                return
            self._held += [near, far]
            host, port = self._target
            names = (f"Host: {HOST}:{self.port}".encode(), f"Host: {host}:{port}".encode())
            threading.Thread(target=_copy, args=(near, far, names), daemon=True).start()
            threading.Thread(target=_copy, args=(far, near, (b"", b"")), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket, names: tuple[bytes, bytes]) -> None:
    """Until the source ends; the first name becomes the second."""
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data.replace(*names, 1) if names[0] else data)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def gate_to(url: str) -> Iterator[tuple[Gate, str]]:
    """A gate before the server at http://host:port, and its URL."""
    host, _, port = url.removeprefix("http://").partition(":")
    gate = Gate(host, int(port))
    try:
        yield gate, f"http://{HOST}:{gate.port}"
    finally:
        gate.close()
