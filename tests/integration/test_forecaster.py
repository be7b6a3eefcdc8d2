"""The forecaster as a process: bundle from a real MLflow, ticks and forecasts in a real Kafka, HTTP by BentoML."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import httpx
import numpy as np
import pytest

from free_ports import free_port
from model_cases import bar_sets, market, tiny_options
from service_process import Service, running, wait_until
from tandem.adapters import topics
from tandem.adapters.calendar import session_grid
from tandem.adapters.codec import decode_forecasts, encode_frame, encode_heartbeat
from tandem.adapters.kafka_log import KafkaReader, KafkaWriter, create_topics
from tandem.domain.forecasts import ForecastBatch, ModelRef
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.market import KIND_TRADE, TICK_DTYPE, Heartbeat, SessionGrid, Source, TickFrame
from tandem.domain.units import NS_PER_S
from tandem.quant.bundle import Bundle
from tandem.quant.panel import Panel
from tandem.trainer.main import SectorTask, train_sector
from tandem.trainer.sectors import register_sector

SECTOR = SectorId("laboratory")
SYMBOLS = (Symbol("AAA"), Symbol("BBB"), Symbol("CCC"))
PAIR = PairId("AAA-BBB")
DAYS = 12
DAY_NS = 86_400 * NS_PER_S


def _grid() -> SessionGrid:
    return session_grid("1d", 1_577_836_800 * NS_PER_S, 1_893_456_000 * NS_PER_S)  # 2020 to 2030


@pytest.fixture(scope="module")
def panel() -> Panel:
    """A labelled synthetic market whose bars lie on real sessions."""
    made = market(bars=600, symbols=SYMBOLS)
    return replace(made, close_ns=_grid().close_ns[: len(made.close_ns)])


@pytest.fixture(scope="module")
def trained(panel: Panel, mlflow_uri: str) -> tuple[ModelRef, Bundle]:
    """A registered model, trained on all but the last days."""
    task = SectorTask(sector=SECTOR, bar="1d", slots=1, declared=(PAIR,), data_digest="0" * 64)
    bundle = train_sector(task, panel.before(len(panel.close_ns) - DAYS), tiny_options())
    return register_sector(mlflow_uri, bundle), bundle


@pytest.fixture
def environ(kafka_servers: str, mlflow_uri: str, trained: tuple[ModelRef, Bundle], tmp_path: Path) -> dict[str, str]:
    """What the process is told."""
    create_topics(kafka_servers, [SECTOR])
    return {
        "TANDEM_KAFKA_BOOTSTRAP_SERVERS": kafka_servers,
        "MLFLOW_TRACKING_URI": mlflow_uri,
        "TANDEM_SECTOR": SECTOR,
        "TANDEM_MODEL_VERSION": trained[0].version,
        "BENTOML_HOME": str(tmp_path / "bentoml"),
    }


@contextmanager
def _ready(environ: dict[str, str], folder: Path) -> Iterator[Service]:
    """The process, once /readyz says 200."""
    with running("forecaster", free_port(), environ, folder) as service:
        wait_until(lambda: _status(service, "/readyz") == 200, "readiness", service)
        yield service


def _status(service: Service, path: str) -> int:
    """The status of a GET, 0 while nothing answers."""
    try:
        return httpx.get(f"{service.url}{path}", timeout=5).status_code
    except httpx.TransportError:
        return 0


def _ask(service: Service, path: str, **body: object) -> httpx.Response:
    """POST JSON."""
    return httpx.post(f"{service.url}{path}", json=body, timeout=30)


def _publish_days(servers: str, panel: Panel, days: slice, replay_id: str) -> None:
    """A frame and a heartbeat for each day. The tests share their topics, hence a replay id for each."""
    writer = KafkaWriter(servers, "test")
    for close_ns, row in list(zip(panel.close_ns.tolist(), panel.close.tolist(), strict=True))[-DAYS:][days]:
        ticks = np.zeros(len(SYMBOLS), TICK_DTYPE)
        ticks["event_ns"], ticks["kind"], ticks["size"] = close_ns - 1_000_000, KIND_TRADE, 1
        ticks["symbol"], ticks["price"] = np.arange(len(SYMBOLS)), row
        frame = TickFrame(sector=SECTOR, source=Source.RECYCLED, replay_id=replay_id, symbols=SYMBOLS, ticks=ticks)
        beat = Heartbeat(sector=SECTOR, source=Source.RECYCLED, replay_id=replay_id, watermark_ns=close_ns, lockstep=True)
        stamp = {topics.HEADER_INGESTED: time.time_ns().to_bytes(8, "little")}
        writer.publish(topics.ticks(SECTOR), encode_frame(frame), headers=stamp)
        writer.publish(topics.ticks(SECTOR), encode_heartbeat(beat), headers=stamp)
    writer.close()


def _forecasts(servers: str, count: int, replay_id: str) -> list[ForecastBatch]:
    """The batches of a replay in the forecasts topic; waits until they are of as many bars."""
    reader = KafkaReader(servers, [topics.FORECASTS], client_id="test")
    batches: list[ForecastBatch] = []

    def enough() -> bool:
        read = [decode_forecasts(record.value or b"") for record in reader.poll(0.2)]
        batches.extend(batch for batch in read if batch.replay_id == replay_id)
        return len({batch.bar_close_ns for batch in batches}) >= count

    wait_until(enough, f"{count} batches")
    reader.close()
    return batches


def test_ticks_become_forecasts_and_a_kill_loses_and_changes_none(
    environ: dict[str, str], kafka_servers: str, panel: Panel, trained: tuple[ModelRef, Bundle], tmp_path: Path
) -> None:
    """One batch a day under the pinned version; after kill -9 the state is rebuilt and the rest follows as if nothing had happened."""
    with _ready(environ, tmp_path) as service:
        _publish_days(kafka_servers, panel, slice(0, 8), "killed")
        before = _forecasts(kafka_servers, 8, "killed")
        service.process.kill()
        service.process.wait()
    _publish_days(kafka_servers, panel, slice(8, None), "killed")
    # What came after the last commit may be there twice, with the same content: the readers know a bar by its time.
    batches = {batch.bar_close_ns: batch for batch in before}
    with _ready(environ, tmp_path):
        read = _forecasts(kafka_servers, DAYS, "killed")
    for batch in read:
        assert batches.setdefault(batch.bar_close_ns, batch) == batch
    assert sorted(batches) == panel.close_ns[-DAYS:].tolist()
    assert all(batch.model == trained[0] and [f.pair for f in batch.forecasts] == [PAIR] for batch in batches.values())
    assert [batches[t].forecasts[0].bar_index for t in sorted(batches)] == list(range(DAYS))
    told = _tick_spans(kafka_servers, "killed")
    assert {len(spans) for spans in told.values()} == {1}, "published again, a batch names the same records of ticks"
    spans = [tuple(map(int, told[close_ns].copy().pop().split(b"-"))) for close_ns in sorted(told)]
    assert all(after[0] == before[1] + 1 and after[1] == after[0] + 1 for before, after in pairwise(spans)), "a frame and a heartbeat a day"


def _tick_spans(servers: str, replay_id: str) -> dict[int, set[bytes]]:
    """The header of the ticks of each bar's batches."""
    reader = KafkaReader(servers, [topics.FORECASTS], client_id="test")
    spans: dict[int, set[bytes]] = {}
    end = reader.end_offsets()[topics.FORECASTS, 0]
    while reader.position((topics.FORECASTS, 0)) < end:  # a poll without a record is no end: a busy broker answers late
        for record in reader.poll(0.2):
            batch = decode_forecasts(record.value or b"")
            if batch.replay_id == replay_id:
                spans.setdefault(batch.bar_close_ns, set()).add(record.headers[topics.HEADER_TICKS])
    reader.close()
    return spans


def test_http_gives_the_forecast_that_was_published(
    environ: dict[str, str], kafka_servers: str, panel: Panel, trained: tuple[ModelRef, Bundle], tmp_path: Path
) -> None:
    """/forecast, /state, /predict and /metrics answer from the pinned version; what it does not hold is named; SIGTERM is a clean end."""
    ref, bundle = trained
    with _ready(environ, tmp_path) as service:
        _publish_days(kafka_servers, panel, slice(None), "asked")
        last = _forecasts(kafka_servers, DAYS, "asked")[-1].forecasts[0]
        answer = _ask(service, "/forecast", pair=PAIR).json()
        assert (answer["variance"], answer["z"], answer["reversion_probability"]) == (last.variance, last.z, last.reversion_probability)
        assert answer["model"] == {"name": ref.name, "version": ref.version, "digest": bundle.digest}
        refused = _ask(service, "/forecast", pair="KO-PEP")
        assert refused.status_code == 404
        assert PAIR in refused.text
        state = _ask(service, "/state").json()
        assert (state["pairs"], state["replay_id"], state["not_ready"]) == ([PAIR], "asked", None)
        health = state["health"]
        assert (health["errors"], health["forecasts"], health["withheld"]) == (0, DAYS, 0)
        assert 0 < health["latency_p99_s"] < 600  # from the header to the batch, of bars that came after readiness
        window = [[0.0] * len(bundle.features)] * bundle.sequence
        predicted = _ask(service, "/predict", windows=[window, window]).json()
        assert len(predicted["reversion_logit"]) == 2
        assert predicted["reversion_logit"][0] == predicted["reversion_logit"][1]
        assert _ask(service, "/predict", windows=[[[1.0]]]).status_code == 400
        wait_until(lambda: _counted(service.metrics(), ref) >= DAYS, "the count, which follows the record", service)
        assert "bentoml_service_request" in service.metrics()
        assert service.stop() == 0


def _counted(text: str, ref: ModelRef) -> float:
    """Forecasts by /metrics. More than the test's own: what the killed process of the test before had not committed is published again."""
    published = re.search(rf'tandem_forecaster_forecasts_total{{sector="{SECTOR}",version="{ref.version}"}} (\S+)', text)
    assert published is not None
    return float(published[1])


def test_a_version_that_does_not_exist_ends_with_the_reason(environ: dict[str, str], tmp_path: Path) -> None:
    """The log names model and version; the exit code is not 0."""
    with running("forecaster", free_port(), environ | {"TANDEM_MODEL_VERSION": "999"}, tmp_path) as service:
        assert wait_until(service.process.poll, "the end of the process") != 0
        assert "start_failed" in service.log.read_text()
        assert "999" in service.log.read_text()


def test_the_panel_is_what_the_bars_would_make(panel: Panel) -> None:
    """The synthetic market of this file is complete: each bar holds all symbols."""
    assert all(len(bar_set.bars) == len(SYMBOLS) for bar_set in bar_sets(panel))
