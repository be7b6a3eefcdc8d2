"""The recorder as a process between a real Kafka and a real Postgres, also when it is killed, and also when Postgres is late."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import orjson
import psycopg2
import pytest

from free_ports import free_port
from service_process import running, wait_until
from tandem.adapters import topics
from tandem.adapters.bar_store import read_bar_sets
from tandem.adapters.calendar import session_grid
from tandem.adapters.codec import encode_forecasts, encode_frame, encode_heartbeat
from tandem.adapters.control_log import publish_control
from tandem.adapters.history_store import HistoryStore, Retention
from tandem.adapters.kafka_log import KafkaReader, KafkaWriter, create_topics
from tandem.domain.control import PairSpec
from tandem.domain.forecasts import Forecast, ForecastBatch, ModelRef
from tandem.domain.ids import PairId, SectorId, Symbol, pair_id
from tandem.domain.market import KIND_CANCEL, KIND_STATUS, KIND_TRADE, TICK_DTYPE, BarSet, Heartbeat, Source, TickFrame
from tandem.domain.units import NS_PER_S, ns_of
from tandem.flow.recorded_bars import bars_of

MINUTE_NS = 60 * NS_PER_S
OPEN_NS = ns_of(datetime(2025, 7, 3, 13, 30, tzinfo=UTC))  # a half day
CLOSE_NS = ns_of(datetime(2025, 7, 3, 17, 0, tzinfo=UTC))
GRID = session_grid("1min", OPEN_NS - 60 * MINUTE_NS, CLOSE_NS + 60 * MINUTE_NS)
STAPLES = SectorId("staples")
SYMBOLS = (Symbol("KO"), Symbol("PEP"))
KO_PEP = PairSpec(pair=pair_id("KO", "PEP"), sector=STAPLES, leg_a=SYMBOLS[0], leg_b=SYMBOLS[1])


def day(replay_id: str, ticks: int = 20_000) -> TickFrame:
    """A day of random trades with some before the open and after the close."""
    rng = np.random.default_rng(7)
    held = np.zeros(ticks, TICK_DTYPE)
    held["event_ns"] = np.sort(rng.integers(OPEN_NS - 10 * MINUTE_NS, CLOSE_NS + 10 * MINUTE_NS, ticks))
    held["trade_id"], held["symbol"], held["kind"] = np.arange(ticks), rng.integers(0, 2, ticks), KIND_TRADE
    held["price"], held["size"] = rng.uniform(50, 70, ticks), rng.integers(1, 1000, ticks)
    return TickFrame(sector=STAPLES, source=Source.RECYCLED, replay_id=replay_id, symbols=SYMBOLS, ticks=held)


def heartbeat(frame: TickFrame, watermark_ns: int, *, end_of_stream: bool = False) -> Heartbeat:
    return Heartbeat(
        sector=frame.sector, source=frame.source, replay_id=frame.replay_id, watermark_ns=watermark_ns, end_of_stream=end_of_stream
    )


def publish_day(writer: KafkaWriter, frame: TickFrame, *, frame_ticks: int = 100, end: bool = True) -> None:
    """As an ingestor would: frames, and a heartbeat for each minute once its ticks are out."""
    topic, due_ns = topics.ticks(frame.sector), OPEN_NS + MINUTE_NS
    for start in range(0, len(frame.ticks), frame_ticks):
        part = frame.ticks[start : start + frame_ticks]
        writer.publish(topic, encode_frame(replace(frame, ticks=part)))
        upto = min(start + frame_ticks, len(frame.ticks) - 1)
        while frame.ticks["event_ns"][upto] >= due_ns and due_ns <= CLOSE_NS:
            writer.publish(topic, encode_heartbeat(heartbeat(frame, due_ns)))
            due_ns += MINUTE_NS
    if end:
        writer.publish(topic, encode_heartbeat(heartbeat(frame, CLOSE_NS + 10 * MINUTE_NS, end_of_stream=True)))
    writer.flush()


@pytest.fixture(scope="module")
def writer(kafka_servers: str) -> Iterator[KafkaWriter]:
    create_topics(kafka_servers, [STAPLES])
    made = KafkaWriter(kafka_servers, "test")
    publish_control(made, KO_PEP)
    yield made
    made.close()


@pytest.fixture(scope="module")
def environ(kafka_servers: str, postgres_url: str, writer: KafkaWriter) -> dict[str, str]:
    return {"TANDEM_KAFKA_BOOTSTRAP_SERVERS": kafka_servers, "TANDEM_POSTGRES_URL": postgres_url, "TANDEM_BAR": "1min"}


class Recorder:
    """The one recorder of this module, which tests may kill and start again."""

    def __init__(self, environ: dict[str, str], folder: Path) -> None:
        self._environ, self._folder = environ, folder
        self._life = ExitStack()
        self.start()

    def start(self, program: str = "") -> None:
        """Another life."""
        self.service = self._life.enter_context(running("recorder", free_port(), self._environ, self._folder, program))

    def kill(self) -> None:
        """As by kill -9."""
        self._life.close()

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Poll, as long as the recorder lives."""
        wait_until(condition, what, self.service)

    def wait_caught_up(self, topic: str = topics.ticks(STAPLES)) -> None:
        """Until all that the topic holds now has had its effect in Postgres."""
        servers, url = self._environ["TANDEM_KAFKA_BOOTSTRAP_SERVERS"], self._environ["TANDEM_POSTGRES_URL"]
        with closing(KafkaReader(servers, [topic], client_id="test")) as reader:
            end = reader.end_offsets()[topic, 0]
        self.wait_until(lambda: position(url, topic) == end, f"{topic} to be saved up to {end}")


@pytest.fixture(scope="module")
def recorder(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorder]:
    made = Recorder(environ, tmp_path_factory.mktemp("recorder"))
    yield made
    made.kill()


def ask(url: str, query: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def position(url: str, topic: str) -> int:
    """How far the topic has had effect."""
    if ask(url, "SELECT to_regclass('consumer_positions')") == [(None,)]:
        return 0
    rows = ask(url, f"SELECT next_offset FROM consumer_positions WHERE topic = '{topic}'")
    return int(rows[0][0]) if rows else 0


def moved_past(environ: dict[str, str], offset: int) -> bool:
    return position(environ["TANDEM_POSTGRES_URL"], topics.ticks(STAPLES)) > offset


def stored(environ: dict[str, str], replay_id: str) -> tuple[BarSet, ...]:
    return read_bar_sets(environ["TANDEM_POSTGRES_URL"], SYMBOLS, "1min", "recycled", 0, 2**62, GRID, replay_id)


def test_the_bars_of_a_day_are_those_of_the_batch(environ, writer, recorder):
    frame = day("plain")
    publish_day(writer, frame)
    recorder.wait_caught_up()
    assert recorder.service.why_not_ready() is None
    assert 'tandem_recorder_lag_records{topic="tandem.ticks.staples"}' in recorder.service.metrics()
    assert stored(environ, "plain") == bars_of(GRID, frame)
    closed_at = ask(environ["TANDEM_POSTGRES_URL"], "SELECT DISTINCT closed_at FROM bars ORDER BY closed_at LIMIT 1")[0][0]
    assert closed_at == datetime(2025, 7, 3, 13, 31, tzinfo=UTC)


def test_killed_again_and_again_it_loses_nothing_and_adds_nothing_twice(environ, writer, recorder):
    """kill -9 while it reads: the sum of its lives is one undisturbed life."""
    frame, topic = day("killed", 60_000), topics.ticks(STAPLES)
    before = position(environ["TANDEM_POSTGRES_URL"], topic)
    publish_day(writer, frame, frame_ticks=20, end=False)
    for life in (1, 2):
        recorder.wait_until(partial(moved_past, environ, before), "an effect")
        recorder.kill()
        before = position(environ["TANDEM_POSTGRES_URL"], topic)
        writer.publish(topic, encode_heartbeat(heartbeat(frame, CLOSE_NS - 3 + life)))
        writer.flush()
        recorder.start()
    writer.publish(topic, encode_heartbeat(heartbeat(frame, CLOSE_NS + MINUTE_NS, end_of_stream=True)))
    writer.flush()
    recorder.wait_caught_up()
    assert stored(environ, "killed") == bars_of(GRID, frame)


def forecast(bar_index: int, price_a: float) -> Forecast:
    return Forecast(
        pair=PairId("KO-PEP"),
        leg_a=SYMBOLS[0],
        leg_b=SYMBOLS[1],
        price_a=price_a,
        price_b=150.0,
        beta=0.8,
        mu=0.1,
        spread=math.log(price_a) - 0.8 * math.log(150.0) - 0.1,
        expected_spread=0.0,
        z=1.0,
        variance=4e-4,
        garch_variance=2e-4,
        reversion_probability=0.6,
        half_life_bars=5.0,
        bar_index=bar_index,
    )


def batch(bar_close_ns: int, *forecasts: Forecast, end_of_stream: bool = False) -> ForecastBatch:
    return ForecastBatch(
        sector=STAPLES,
        model=ModelRef(name="m", version="1", digest="d"),
        source=Source.RECYCLED,
        replay_id="scored",
        bar_close_ns=bar_close_ns,
        lockstep=True,
        end_of_stream=end_of_stream,
        forecasts=forecasts,
    )


def test_forecasts_are_scored_across_a_restart_and_repeats_add_nothing(environ, writer, recorder):
    """The bar after `second` brought no forecast: that of `second` stays without an outcome, the next one has its own."""

    def publish(*batches: ForecastBatch) -> None:
        for each in batches:
            writer.publish(topics.FORECASTS, encode_forecasts(each), key=STAPLES.encode())
        writer.flush()

    first, second, third, fourth, fifth = (OPEN_NS + k * MINUTE_NS for k in range(1, 6))
    publish(batch(first, forecast(0, 60.0)), batch(second, forecast(1, 61.0)), batch(third))
    recorder.wait_caught_up(topics.FORECASTS)
    recorder.kill()
    writer.publish(topics.FORECASTS, b"not a forecast")
    publish(
        batch(second, forecast(1, 61.0)),
        batch(fourth, forecast(2, 62.0)),
        batch(fifth, forecast(3, 63.0), end_of_stream=True),
    )
    recorder.start()
    recorder.wait_caught_up(topics.FORECASTS)
    rows = ask(environ["TANDEM_POSTGRES_URL"], "SELECT bar_close_ns, next_close_ns, realised FROM forecast_scores ORDER BY bar_close_ns")
    expected = [(math.log(price) - 0.8 * math.log(150.0) - 0.1) ** 2 for price in (61.0, 63.0)]
    assert [row[:2] for row in rows] == [(first, second), (second, None), (fourth, fifth), (fifth, None)]
    assert [row[2] for row in rows if row[2] is not None] == pytest.approx(expected, rel=1e-12)


def test_late_ticks_and_unreadable_records_are_parked(environ, writer, kafka_servers, recorder):
    frame, topic = day("late"), topics.ticks(STAPLES)
    inside = int(np.searchsorted(frame.ticks["event_ns"], OPEN_NS + MINUTE_NS // 2))
    writer.publish(topic, encode_frame(replace(frame, ticks=frame.ticks[inside : inside + 3])))
    writer.publish(topic, encode_heartbeat(heartbeat(frame, OPEN_NS + MINUTE_NS)))
    writer.publish(topic, b"TDMF but not really")
    late = frame.ticks[inside - 2 : inside].copy()
    writer.publish(topic, encode_frame(replace(frame, ticks=late)))
    writer.publish(topic, encode_heartbeat(heartbeat(frame, CLOSE_NS, end_of_stream=True)))
    writer.flush()
    recorder.wait_caught_up()
    assert 'tandem_recorder_late_ticks_total{sector="staples"} 2.0' in recorder.service.metrics()
    assert [s.close_ns for s in stored(environ, "late")] == [OPEN_NS + MINUTE_NS]
    with closing(KafkaReader(kafka_servers, [topics.DEADLETTER], client_id="test")) as reader:
        reasons: list[str] = []
        target = reader.end_offsets()[topics.DEADLETTER, 0]
        while reader.position((topics.DEADLETTER, 0)) < target:
            reasons += [orjson.loads(record.value or b"")["reason"] for record in reader.poll(0.5)]
    assert {"tick_late", "frame_unknown"} <= set(reasons)


def test_a_cancel_after_the_close_revises_the_stored_bar_and_both_are_kept(environ, writer, recorder):
    """Killed in between, too: the log is read back, whatever the process remembers. A halt is noted."""
    topic, url = topics.ticks(STAPLES), environ["TANDEM_POSTGRES_URL"]

    def publish(*rows: tuple[int, int, float, int, int, int, int], watermark_ns: int) -> None:
        frame = replace(day("amended"), ticks=np.array([*rows], TICK_DTYPE))
        writer.publish(topic, encode_frame(frame))
        writer.publish(topic, encode_heartbeat(heartbeat(frame, watermark_ns)))
        writer.flush()

    trades = [(OPEN_NS + i, i, price, 10, 0, KIND_TRADE, 0) for i, price in enumerate((60.0, 600.0, 61.0))]
    publish(*trades, (OPEN_NS + 9, 0, 0.0, 0, 1, KIND_STATUS, 1), watermark_ns=OPEN_NS + MINUTE_NS)
    recorder.wait_caught_up()
    recorder.kill()
    cancel = (OPEN_NS + MINUTE_NS + 5, 1, 600.0, 10, 0, KIND_CANCEL, 0)
    publish(cancel, watermark_ns=OPEN_NS + 2 * MINUTE_NS)
    publish(cancel, watermark_ns=OPEN_NS + 3 * MINUTE_NS)  # told twice
    recorder.start()
    recorder.wait_caught_up()
    ((bar_set),) = stored(environ, "amended")
    bar = bar_set.bars[SYMBOLS[0]]
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trades) == (60.0, 61.0, 60.0, 61.0, 20, 2)
    assert ask(url, "SELECT high, volume, trades, kind, trade_id FROM bar_revisions WHERE replay_id = 'amended'") == [
        (600.0, 30, 3, "cancel", 1)
    ]
    assert ask(url, "SELECT kind, symbol, flags, outcome FROM market_events WHERE replay_id = 'amended' ORDER BY event_ns") == [
        ("status", "PEP", 1, "noted"),
        ("cancel", "KO", 0, "bar_revised"),
    ]


def test_a_replay_is_forgotten_when_its_time_is_over_and_nothing_else(environ, recorder):
    url = environ["TANDEM_POSTGRES_URL"]
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("UPDATE replays SET last_seen_at = now() - interval '9 days' WHERE replay_id = 'amended'")
    with closing(HistoryStore(url, "test")) as store:
        gone = store.forget(Retention(replays_days=7, bars_days=36_500))
    assert gone == {"bars": 1, "market_events": 2, "bar_revisions": 1}
    assert stored(environ, "amended") == ()
    assert stored(environ, "plain") != ()


def test_a_new_sector_is_read_from_its_first_record(environ, writer, kafka_servers, recorder):
    frame = replace(day("new-sector"), sector=SectorId("drinks"))
    create_topics(kafka_servers, ["drinks"])
    publish_day(writer, frame)
    publish_control(writer, replace(KO_PEP, pair=pair_id("PEP", "KO"), leg_a=SYMBOLS[1], leg_b=SYMBOLS[0], sector=SectorId("drinks")))
    recorder.wait_caught_up(topics.ticks("drinks"))
    assert stored(environ, "new-sector") == bars_of(GRID, frame)


def test_the_end_of_a_stream_is_saved_at_once_and_the_process_ends_cleanly(environ, writer, recorder):
    """Not after the second that smaller batches may wait: here they would wait for an hour."""
    recorder.wait_caught_up()
    assert recorder.service.stop() == 0
    recorder.start("from tandem.recorder import main, pump; pump.SAVE_EVERY_S = 3_600.0; main.main()")
    frame = day("ended", 2_000)
    publish_day(writer, frame)
    recorder.wait_caught_up()
    assert stored(environ, "ended") == bars_of(GRID, frame)
    assert recorder.service.stop() == 0


def test_a_postgres_that_is_away_ends_the_process_with_code_1_and_its_place(environ, tmp_path):
    environ = environ | {"TANDEM_POSTGRES_URL": "postgresql://tandem:hush@127.0.0.1:9/tandem"}
    with running("recorder", free_port(), environ, tmp_path) as service:
        assert wait_until(service.process.poll, "the end of the process") == 1
        log = service.log.read_text()
    assert "Transient: PostgreSQL at 127.0.0.1:9/tandem" in log
    assert "hush" not in log
