"""The kinds of fault that come from people and other programs: the kill switch, a second portfolio, records that nobody can read."""

import time
from contextlib import closing

import httpx

from chaos.faults import Way
from chaos.play import End
from chaos.schedule import Fault, FaultKind
from chaos.sockets import HOST
from chaos.stage import TOKEN, Stage
from tandem.adapters import topics
from tandem.adapters.kafka_log import KafkaWriter

_SWITCH_S_MAX = 1.0  # what is promised for the kill switch
_GARBAGE = (b"", b"{", b"TDMF", bytes(range(256)), b'{"schema": 99}', b"null", b'{"schema": 1, "kind": "PairSpec"}', b"\xff" * 4096)


def _kill_switch(stage: Stage, fault: Fault) -> End | None:
    """New positions are forbidden while the market runs, and allowed again; the portfolio must be up to be told."""
    stage.until("the portfolio is ready", lambda: stage.ready("portfolio"))
    if not _told(stage, "reducing"):
        return None
    began_s = time.monotonic()
    stage.until("the kill switch", lambda: _mode(stage) == "reducing", 20)
    stage.switched(time.monotonic() - began_s, _SWITCH_S_MAX)
    stage.look()
    from_ns = int(stage.status.get("watermark_ns", 0))  # of the bar at which the switch may have come while it was decided

    def end() -> None:
        stage.look()
        stage.no_opens.append((from_ns, stage.decided_ns))
        stage.until("the portfolio is ready", lambda: stage.ready("portfolio"))
        _told(stage, "active")

    return end


def _told(stage: Stage, mode: str) -> bool:
    """The portfolio has taken the wish; what else is broken may stand in the way."""
    body, headers = {"scope": "global", "mode": mode, "reason": "chaos"}, {"Authorization": f"Bearer {TOKEN}"}
    try:
        return httpx.post(f"{_portfolio(stage)}/v1/trading-state", json=body, headers=headers, timeout=10, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _mode(stage: Stage) -> str:
    try:
        told = httpx.get(f"{_portfolio(stage)}/v1/trading-state", timeout=5, trust_env=False).raise_for_status().json()
    except httpx.HTTPError:
        return ""
    return next((row["mode"] for row in told if row["scope"] == "global"), "")


def _portfolio(stage: Stage) -> str:
    return f"http://{HOST}:{stage.servers.ports.portfolio}"


def _garbage(stage: Stage, fault: Fault) -> None:
    """A record that cannot be read, in the topic that the target names."""
    sector = stage.plan.sectors[0].sector
    name = {"ticks": topics.ticks(sector), "forecasts": topics.FORECASTS, "control": topics.CONTROL}[fault.target]
    value = _GARBAGE[fault.amount % len(_GARBAGE)] + b"chaos"
    stage.injected.add(value)
    with closing(KafkaWriter(stage.servers.kafka, "tandem-chaos")) as writer:
        writer.publish(name, value, key=b"chaos/1")
        writer.flush()


def _second_portfolio(stage: Stage, fault: Fault) -> End:
    """Another replica stands by; the first one is held until the other trades, and comes back as one that does not know."""
    stage.start_standby()
    stage.pause("portfolio")

    def end() -> None:
        stage.resume("portfolio")
        stage.stop_standby()

    return end


INPUT_WAYS: tuple[Way, ...] = (
    Way(FaultKind(name="kill_switch", number=24, targets=("portfolio",), lasts_ms=(200, 1_000), neutral=False), _kill_switch),
    Way(FaultKind(name="unreadable_record", number=22, targets=("ticks", "forecasts", "control"), amount=(0, 99)), _garbage),
    Way(FaultKind(name="second_portfolio", number=9, targets=("portfolio",), lasts_ms=(12_000, 14_000)), _second_portfolio),
)
