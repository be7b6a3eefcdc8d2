"""A gate before an HTTP server: closed, the server is away for whoever comes through it, while it goes on for everybody else."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from free_ports import free_port

HOST = "127.0.0.1"


class Gate:
    """Forwards connections while it is open. The server is named as it knows itself: MLflow refuses other hosts.

    The port stays taken while the gate is closed: else a connection that anybody opens meanwhile may get it for its own end.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._held: list[socket.socket] = []
        self._lock = threading.Lock()  # of the two: what is accepted while the gate is being closed must not stay open
        self._listener: socket.socket | None = None
        self.port = free_port()
        self._place = _bound(self.port)
        self.open()

    def open(self) -> None:
        """Let through."""
        listener = _bound(self.port)
        listener.listen()
        with self._lock:
            self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def close(self) -> None:
        """Refuse, and cut what is open."""
        with self._lock:
            listener, self._listener = self._listener, None
            held, self._held = self._held, []
        _cut(*([listener] if listener else []), *held)

    def give_up(self) -> None:
        """Close it for good: the port is anybody's again."""
        self.close()
        self._place.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target)
            except OSError:  # the server is away: so is the gate for this one
                _cut(near)
                continue
            with self._lock:
                is_open = self._listener is listener
                if is_open:
                    self._held += [near, far]
            if not is_open:
                _cut(near, far)
                return
            host, port = self._target
            names = (f"Host: {HOST}:{self.port}".encode(), f"Host: {host}:{port}".encode())
            threading.Thread(target=_copy, args=(near, far, names), daemon=True).start()
            threading.Thread(target=_copy, args=(far, near, (b"", b"")), daemon=True).start()


def _bound(port: int) -> socket.socket:
    """A socket at this port of ours; it refuses connections until it listens."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((HOST, port))
    return made


def _cut(*sockets: socket.socket) -> None:
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


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
        gate.give_up()
