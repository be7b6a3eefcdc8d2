"""The ingestor as a process between a market-data server and Kafka: nothing lost, nothing doubled, bad things parked, a clean end."""

import asyncio
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner

from alpaca_server import Session, scripted_market
from free_ports import free_port
from service_process import command, running, wait_until
from tandem.adapters import topics
from tandem.adapters.codec import decode_tick_record, encode_control
from tandem.adapters.control_log import publish_control
from tandem.adapters.deadletter import read_letters
from tandem.adapters.kafka_log import KafkaReader, KafkaWriter, create_topics
from tandem.cli.main import app
from tandem.domain.control import PairSpec
from tandem.domain.ids import SectorId, Symbol, pair_id
from tandem.domain.market import Heartbeat, TickFrame
from tandem.domain.units import NS_PER_S
from tandem.ports import LogRecord

START_NS = 1_763_994_600 * NS_PER_S  # 2025-11-24 09:30 New York
BAD = ["field_missing", "payload_malformed", "price_invalid", "symbol_unknown"]


def trade(number: int, symbol: str = "KO", **changes: object) -> dict[str, object]:
    return {"T": "t", "S": symbol, "i": number, "x": "V", "p": 60.0, "s": 100, "c": ["@"], "z": "A", "t": START_NS + number} | changes


def replay(replay_id: str) -> dict[str, object]:
    return {"T": "tandem.replay", "replay_id": replay_id, "source": "recycled", "lockstep": False, "start_ns": START_NS}


def beat(replay_id: str, watermark_ns: int, *, end_of_stream: bool = False) -> dict[str, object]:
    fields = {"T": "tandem.heartbeat", "replay_id": replay_id, "watermark_ns": watermark_ns}
    return fields | {"lockstep": False, "end_of_stream": end_of_stream}


def spec(leg_a: str, leg_b: str, sector: str) -> PairSpec:
    return PairSpec(pair=pair_id(leg_a, leg_b), sector=SectorId(sector), leg_a=Symbol(leg_a), leg_b=Symbol(leg_b))


@pytest.fixture(scope="module")
def declared(kafka_servers: str) -> Iterator[KafkaWriter]:
    """Two sectors that share KO."""
    create_topics(kafka_servers, ["staples", "etf"])
    writer = KafkaWriter(kafka_servers, "test")
    publish_control(writer, spec("KO", "PEP", "staples"), spec("KO", "XLP", "etf"))
    yield writer
    writer.close()


@pytest.fixture
def environ(kafka_servers: str, declared: KafkaWriter) -> dict[str, str]:
    return {
        "TANDEM_KAFKA_BOOTSTRAP_SERVERS": kafka_servers,
        "TANDEM_ALPACA_KEY_ID": "any",
        "TANDEM_ALPACA_SECRET_KEY": "any",
        "TANDEM_SOURCE": "recycled",
    }


def records(servers: str, topic: str) -> list[LogRecord]:
    """All that the topic holds now."""
    reader = KafkaReader(servers, [topic], client_id="test")
    try:
        end, read = reader.end_offsets()[topic, 0], []
        while len(read) < end:
            read += reader.poll(0.2)
        return read
    finally:
        reader.close()


def stream(servers: str, sector: str, replay_id: str) -> list[TickFrame | Heartbeat]:
    events = [decode_tick_record(record.value or b"") for record in records(servers, topics.ticks(sector))]
    return [event for event in events if event.replay_id == replay_id]


def ended(servers: str, sector: str, replay_id: str) -> bool:
    return any(isinstance(e, Heartbeat) and e.end_of_stream for e in stream(servers, sector, replay_id))


def ids(events: list[TickFrame | Heartbeat]) -> dict[str, list[int]]:
    """Trade ids by symbol, in order."""
    held: dict[str, list[int]] = {}
    for event in events:
        if isinstance(event, TickFrame):
            for place, name in enumerate(event.symbols):
                held.setdefault(name, []).extend(event.ticks["trade_id"][event.ticks["symbol"] == place].tolist())
    return {name: numbers for name, numbers in held.items() if numbers}


def test_ticks_reach_every_sector_once_in_order_and_bad_messages_are_parked(kafka_servers, environ, tmp_path):
    """Also over a cut connection whose overlap is sent again."""

    is_parked = threading.Event()

    def reasons() -> list[str]:
        return sorted({orjson.loads(record.value or b"")["reason"] for record in records(kafka_servers, topics.DEADLETTER)})

    async def script(session: Session) -> None:
        await session.send(replay("whole"))
        if session.number == 0:
            await session.send(*(trade(i) for i in range(2000)))
            await session.send(trade(1, "PEP"), trade(2, "PEP", p=-1.0), {"T": "t"}, trade(3, "GM"), trade(4, "PEP"))
            await session.send_raw(b"\xc1")
            await asyncio.to_thread(is_parked.wait, 180)  # history has no bad messages: those that a cut loses are lost
            await session.send(*(trade(i) for i in range(2000, 3000)))
            await session.send(beat("whole", START_NS + 2000))
            await session.drop()  # what is in flight is lost, and is asked of history
        else:
            await session.send(*(trade(i) for i in range(2500, 4000)), trade(5, "XLP"))
            await session.send(beat("whole", START_NS + NS_PER_S, end_of_stream=True))

    with (
        scripted_market(script) as market,
        running("ingestor", free_port(), environ | {"TANDEM_ALPACA_DATA_URL": market.url}, tmp_path) as service,
    ):
        wait_until(lambda: reasons() == BAD, "the dead letters", service)
        is_parked.set()
        wait_until(lambda: ended(kafka_servers, "etf", "whole"), "the end of the stream", service)
        wait_until(lambda: service.why_not_ready() is None, "readiness", service)
        assert service.stop() == 0

    staples, etf = stream(kafka_servers, "staples", "whole"), stream(kafka_servers, "etf", "whole")
    assert ids(staples) == {"KO": list(range(4000)), "PEP": [1, 4]}
    assert ids(etf) == {"KO": list(range(4000)), "XLP": [5]}
    beats = [e.watermark_ns for e in staples if isinstance(e, Heartbeat)]
    assert beats in ([START_NS + 2000, START_NS + NS_PER_S], [START_NS + NS_PER_S])  # the first may have been in flight
    assert isinstance(staples[-1], Heartbeat)
    assert reasons() == BAD
    assert all(topics.HEADER_INGESTED in record.headers for record in records(kafka_servers, topics.ticks("etf")))


def test_a_new_pair_is_followed_and_a_new_sector_gets_its_topic(kafka_servers, environ, declared, tmp_path):
    """And before: a single tick of a quiet stream leaves without waiting for a heartbeat."""

    async def script(session: Session) -> None:
        await session.send(replay("grow"))
        await session.send(trade(1))
        await session.subscribed_to("KO", "PEP", "XLP", "CVX", "XOM")
        await session.send(trade(1, "XOM"), trade(2, "KO"))
        await session.send(beat("grow", START_NS + NS_PER_S, end_of_stream=True))

    with (
        scripted_market(script) as market,
        running("ingestor", free_port(), environ | {"TANDEM_ALPACA_DATA_URL": market.url}, tmp_path) as service,
    ):
        wait_until(lambda: ids(stream(kafka_servers, "staples", "grow")) == {"KO": [1]}, "the tick of a quiet stream", service)
        wait_until(lambda: service.why_not_ready() is None, "readiness", service)
        publish_control(declared, spec("CVX", "XOM", "energy"))
        wait_until(lambda: "XOM" in market.sessions[0].symbols, "the subscription", service)
        for sector in ("energy", "staples"):
            wait_until(lambda sector=sector: ended(kafka_servers, sector, "grow"), f"the end of {sector}", service)
        assert ids(stream(kafka_servers, "energy", "grow")) == {"XOM": [1]}
        assert ids(stream(kafka_servers, "staples", "grow")) == {"KO": [1, 2]}


def test_the_dead_letter_is_listed_shown_and_replayed_once_the_cause_is_gone(kafka_servers, environ, declared, tmp_path, monkeypatch):
    """A trade of a symbol that no pair named yet: parked, then declared, then given its second try, once."""

    async def script(session: Session) -> None:
        await session.send(replay("letters"))
        await session.send(trade(1), trade(77, "MDLZ"), trade(78, "MDLZ", p=0.0))
        await session.send(beat("letters", START_NS))

    with (
        scripted_market(script) as market,
        running("ingestor", free_port(), environ | {"TANDEM_ALPACA_DATA_URL": market.url}, tmp_path) as service,
    ):
        wait_until(lambda: len(letters(kafka_servers, "MDLZ")) == 2, "two letters", service)
        assert service.stop() == 0
    good, bad = letters(kafka_servers, "MDLZ")
    monkeypatch.setenv("TANDEM_KAFKA_BOOTSTRAP_SERVERS", kafka_servers)
    listed = tandem("list", "--reason", "symbol_unknown", "--json")
    assert listed[0]["offset"] == bad  # newest first
    assert {"offset": good, "reason": "symbol_unknown", "service": "ingestor", "topic": "market-data"}.items() <= listed[1].items()
    assert tandem("show", str(good), "--json")["content"]["i"] == 77

    assert "symbol_unknown" in run_tandem("replay", str(good), fails=True)  # still
    publish_control(declared, spec("KO", "MDLZ", "staples"))
    assert "would go to tandem.ticks.staples" in run_tandem("replay", str(good), "--dry-run")
    assert "went to tandem.ticks.staples" in run_tandem("replay", str(good))
    assert "price_invalid" in run_tandem("replay", str(bad), fails=True)
    assert "replayed before" in run_tandem("replay", str(good))
    assert "nowhere" in run_tandem("replay", str(good), "--again")
    assert ids(stream(kafka_servers, "staples", "letters")) == {"KO": [1], "MDLZ": [77]}
    publish_control(declared, spec("KO", "MDLZ", "other"))


def letters(servers: str, symbol: str) -> list[int]:
    """Offsets of parked messages of a symbol."""
    return [e.offset for e in read_letters(servers, client_id="test") if symbol.encode() in e.payload]


def run_tandem(*arguments: str, fails: bool = False) -> str:
    """Output of `tandem deadletter ...`."""
    result = CliRunner().invoke(app, ["deadletter", *arguments])
    assert result.exit_code == int(fails), result.output
    return result.output


def tandem(*arguments: str) -> Any:
    """Its JSON."""
    return orjson.loads(run_tandem(*arguments))


def test_statuses_quotes_and_corrections_reach_the_topic_and_a_restart_knows_who_is_halted(kafka_servers, environ, tmp_path):
    """A halt is told once; the heartbeats of the next life carry it still."""

    async def script(session: Session) -> None:
        await session.send(replay("states"))
        if session.number == 0:
            await session.send(trade(1), {"T": "q", "S": "PEP", "bp": 59.9, "bs": 1, "ap": 60.1, "as": 2, "t": START_NS + 2})
            await session.send({"T": "s", "S": "KO", "sc": "H", "sm": "Halt", "rc": "T1", "rm": "", "z": "C", "t": START_NS + 3})
            await session.send({"T": "c", "S": "KO", "oi": 1, "cp": 59.0, "cs": 100, "t": START_NS + 4})
        await session.send(beat("states", START_NS + 100 + session.number))

    environ = environ | {"TANDEM_QUOTES": "staples"}
    with scripted_market(script) as market:
        for life in range(2):
            with running("ingestor", free_port(), environ | {"TANDEM_ALPACA_DATA_URL": market.url}, tmp_path) as service:
                wait_until(lambda life=life: last_watermark(kafka_servers, "states") == START_NS + 100 + life, "a heartbeat", service)
    frames = [e for e in stream(kafka_servers, "staples", "states") if isinstance(e, TickFrame)]
    assert sorted(np.concatenate([f.ticks["kind"] for f in frames]).tolist()) == [1, 2, 3, 4, 6]
    newest = records(kafka_servers, topics.ticks("staples"))[-1]
    assert orjson.loads(newest.headers[topics.HEADER_FLAGS]) == {"KO": 1}


def last_watermark(servers: str, replay_id: str) -> int:
    return max((e.watermark_ns for e in stream(servers, "staples", replay_id) if isinstance(e, Heartbeat)), default=0)


def test_without_history_a_hole_stays_open_and_it_is_not_ready(kafka_servers, environ, tmp_path):
    """No heartbeat goes out before history has answered: nothing is decided on half of a market."""

    async def script(session: Session) -> None:
        await session.send(replay("away"))
        await session.send(trade(1), beat("away", START_NS + 100))

    with scripted_market(script) as market:
        market.history_status = 503
        with running("ingestor", free_port(), environ | {"TANDEM_ALPACA_DATA_URL": market.url}, tmp_path) as service:
            wait_until(lambda: (service.why_not_ready() or "").startswith("history does not answer"), "the reason", service)
            assert stream(kafka_servers, "staples", "away") == []
            assert "tandem_ingestor_history_failures_total" in service.metrics()
            market.history_status = 200
            wait_until(lambda: last_watermark(kafka_servers, "away") == START_NS + 100, "the heartbeat", service)
            wait_until(lambda: service.why_not_ready() is None, "readiness", service)
    assert ids(stream(kafka_servers, "staples", "away")) == {"KO": [1]}


def test_a_sector_whose_last_pair_is_gone_still_has_its_heartbeats(kafka_servers, environ, declared, tmp_path):
    """Whoever waits for every sector of a bar would wait for it for ever."""

    async def script(session: Session) -> None:
        await session.send(replay("lone"))
        await session.subscribed_to(*sorted(set(session.symbols) - {"HSY", "K"}))
        await session.send(beat("lone", START_NS + 100))

    publish_control(declared, spec("HSY", "K", "lone"))
    with (
        scripted_market(script) as market,
        running("ingestor", free_port(), environ | {"TANDEM_ALPACA_DATA_URL": market.url}, tmp_path) as service,
    ):
        wait_until(lambda: market.sessions and "HSY" in market.sessions[0].symbols, "the subscription", service)
        key, _ = encode_control(spec("HSY", "K", "lone"))
        declared.publish(topics.CONTROL, None, key=key)
        declared.flush()
        wait_until(lambda: any(isinstance(e, Heartbeat) for e in stream(kafka_servers, "lone", "lone")), "its heartbeat", service)


def test_a_refused_subscription_is_not_ready_with_its_reason(environ, tmp_path):
    """405 after authentication: alpaca-py only logs it, and would run for ever without data."""

    async def script(session: Session) -> None:
        market.is_silent = True  # else the error is over with the next question, which nobody may have seen before
        await session.send({"T": "error", "code": 405, "msg": "symbol limit exceeded"})

    with (
        scripted_market(script) as market,
        running("ingestor", free_port(), environ | {"TANDEM_ALPACA_DATA_URL": market.url}, tmp_path) as service,
    ):
        wait_until(lambda: service.why_not_ready() == "stream error 405: symbol limit exceeded", "the reason", service)
        assert 'tandem_ingestor_stream_errors_total{code="405"} 1.0' in service.metrics()
        # The server still sends everything, and says so when it is asked: an error that cost nothing is over.
        market.is_silent = False
        wait_until(lambda: "stream error" not in (service.why_not_ready() or ""), "the end of the error", service)
        assert len(market.sessions) == 1
        assert service.stop() == 0


def test_it_stops_in_time_while_the_market_is_away(environ, tmp_path):
    environ = environ | {"TANDEM_ALPACA_DATA_URL": f"ws://127.0.0.1:{free_port()}/v2/iex"}
    with running("ingestor", free_port(), environ, tmp_path) as service:
        wait_until(lambda: (service.why_not_ready() or "").startswith("not connected: cannot connect"), "the reason", service)
        assert service.stop() == 0


def test_a_live_source_makes_heartbeats_and_refuses_a_replay(kafka_servers, environ, tmp_path):
    """The watermark of a live feed follows the clock. A replay under TANDEM_SOURCE=live would become history: it ends the process."""

    async def script(session: Session) -> None:
        await session.send(trade(1, t=time.time_ns()))  # no older: with a heartbeat between, it would be late
        await session.subscribed_to("KO", "PEP", "XLP", "CVX", "XOM", "never")

    live = environ | {"TANDEM_SOURCE": "live", "TANDEM_LATENESS_MS": "1500"}
    began_ns = time.time_ns()
    with (
        scripted_market(script) as market,
        running("ingestor", free_port(), live | {"TANDEM_ALPACA_DATA_URL": market.url}, tmp_path) as service,
    ):
        wait_until(lambda: sum(isinstance(e, Heartbeat) for e in stream(kafka_servers, "staples", "")) >= 2, "two heartbeats", service)
    events = stream(kafka_servers, "staples", "")
    assert {event.source for event in events} == {"live"}
    first, second = [e.watermark_ns for e in events if isinstance(e, Heartbeat)][:2]
    assert 0.5 * NS_PER_S < second - first < time.time_ns() - began_ns
    assert ids(events) == {"KO": [1]}

    async def recycled(session: Session) -> None:
        await session.send(replay("not-live"))

    with (
        scripted_market(recycled) as market,
        running("ingestor", free_port(), live | {"TANDEM_ALPACA_DATA_URL": market.url}, tmp_path) as service,
    ):
        assert service.process.wait(180) == 2
        assert "TANDEM_SOURCE is live, but the stream is a replay" in service.log.read_text()


def test_bad_settings_end_with_code_2_and_one_line_that_names_them_all(environ):
    environment = environ | {"TANDEM_SOURCE": "paper-ish", "TANDEM_ALPACA_KEY_ID": "", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command("ingestor"), env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    for fault in ("TANDEM_SOURCE is 'paper-ish', allowed are live, paper, recycled", "TANDEM_ALPACA_KEY_ID", "TANDEM_PORT"):
        assert fault in done.stderr


def test_a_taken_port_ends_with_code_2_and_names_it(environ, tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environment = environ | {"TANDEM_ALPACA_DATA_URL": "ws://127.0.0.1:9/v2/iex"}
        with running("ingestor", port, environment, tmp_path) as service:
            assert service.process.wait(180) == 2
            assert f"cannot listen on 127.0.0.1:{port}" in service.log.read_text()
