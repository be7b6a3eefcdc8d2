"""Answers one question at a time about a local server: is it up, and who holds its port. Called by processes.py and by `tandem status`."""

import http.client
import os
import socket
from urllib.parse import urlsplit

import psutil

from tandem.domain.errors import Permanent

PROBE_TIMEOUT_S = 2.0  # a server on this machine answers in milliseconds; BentoML accepts and hangs while its worker starts
HOST = "127.0.0.1"


class PortTaken(Permanent):
    """A port that one of our processes needs is in use."""


def http_ready(url: str) -> str | None:
    """None if the URL answers 200, else why not. Speaks HTTP itself, so that no proxy of the environment comes between."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or HOST, parts.port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", parts.path or "/")
        response = connection.getresponse()
        body = response.read(2_000).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"{url}: {error.strerror or repr(error)}" if isinstance(error, OSError) else f"{url}: {error!r}"
    finally:
        connection.close()
    return None if response.status == http.client.OK else f"{url}: {response.status} {body.strip()}"


def tcp_ready(port: int) -> str | None:
    """None if something accepts connections on this port, else why not."""
    try:
        with socket.create_connection((HOST, port), timeout=PROBE_TIMEOUT_S):
            return None
    except OSError as error:
        return f"{HOST}:{port}: {error}"


def require_free_port(port: int, owner: str) -> None:
    """Raises PortTaken, naming the port, the option that moves it and, where it can be known, what holds it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: a closed connection's remains do not count
        try:
            probe.bind((HOST, port))
        except OSError as error:
            holder = _holder(port)
            raise PortTaken(
                f"port {port} for {owner} is taken{holder} ({error.strerror}): free it or choose another --port-base"
            ) from error


def _holder(port: int) -> str:
    """ " by NAME (pid N)" for the process that listens, as far as this user may see it."""
    for process in psutil.process_iter(["name"]):
        try:
            connections = process.net_connections(kind="tcp")
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
        if any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections):
            mine = " (this process)" if process.pid == os.getpid() else ""
            return f" by {process.info['name']} (pid {process.pid}){mine}"
    return ""
