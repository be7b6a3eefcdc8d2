"""The ports that tests give to servers: nobody else gets one between its draw and the server's start."""

import socket

import pytest

import free_ports
from tandem.local.endpoints import Ports


def test_no_outgoing_connection_gets_one():
    first, last = free_ports.kernel_range()
    drawn = [free_ports.free_port() for _ in range(50)]
    assert not [port for port in drawn if first <= port <= last]


def test_none_is_given_twice():
    drawn = [free_ports.free_port() for _ in range(200)]
    base = free_ports.free_base()
    drawn += [base + offset for offset in free_ports.PLATFORM]
    drawn += [free_ports.free_port() for _ in range(200)]
    assert len(drawn) == len(set(drawn))


def test_one_that_somebody_listens_on_is_passed_over(monkeypatch):
    with socket.create_server(("127.0.0.1", free_ports.free_port())) as server:
        taken = server.getsockname()[1]
        monkeypatch.setattr(free_ports, "_given", set())
        monkeypatch.setattr(free_ports, "outside", lambda *_: range(taken, taken + 2))
        monkeypatch.setattr(free_ports, "_TRIES", 100)
        with pytest.raises(RuntimeError, match=f"100 draws of 1 ports from {taken} to {taken + 1}"):
            [free_ports.free_port() for _ in range(2)]


def test_a_platform_has_all_its_ports():
    ports = Ports(0)
    servers = {ports.postgres, ports.redis, ports.kafka, ports.kafka_controller, ports.mlflow}
    services = {ports.recycler, ports.ingestor, ports.recorder, ports.portfolio, ports.dashboard}
    assert servers | services | {ports.forecaster(number) for number in range(10)} == set(free_ports.PLATFORM)


@pytest.mark.parametrize(
    ("kernels", "ours"),
    [
        ((32_768, 60_999), range(20_000, 32_768)),
        ((10_000, 40_000), range(40_001, 65_536)),
        ((1_024, 65_535), range(20_000, 65_536)),
    ],
)
def test_they_lie_where_the_kernel_leaves_more(kernels, ours):
    assert free_ports.outside(*kernels) == ours
