"""A replay with the real recycler, Kafka, Postgres, Redis and portfolio, in which the test plays the forecasters.

Forecasts of all bars are published before the replay starts: the portfolio may act on one only when the replay's clock has reached it.
"""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg2

from free_ports import free_port
from tandem.adapters import topics
from tandem.adapters.calendar import session_grid
from tandem.adapters.codec import encode_forecasts
from tandem.adapters.control_log import publish_control
from tandem.adapters.kafka_log import KafkaWriter, create_topics
from tandem.adapters.market_file import load_market_data
from tandem.adapters.skfolio_data import skfolio_dataset
from tandem.domain.control import PairSpec, RoutingPointer
from tandem.domain.forecasts import Forecast, ForecastBatch, ModelRef
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.market import Source
from tandem.domain.units import NS_PER_S

KEYS = {"APCA-API-KEY-ID": "test", "APCA-API-SECRET-KEY": "test"}
TOKEN = "token-of-the-test"
ROOT = Path(__file__).parent.parent
# Sector, pair, hedge ratio: rough values, as these forecasts only have to make trades.
PAIRS = (("consumer", "KO", "PEP", 0.8), ("energy", "XOM", "CVX", 0.9), ("financial", "JPM", "BAC", 0.7))
_LIMIT_S = 120.0  # without a bar
_PATIENCE_S = 300.0
ANSWER_S = 60.0  # for one answer; longer than the API's longest, a release that waits for the decision thread
_END_S = 60.0  # for a process to end: that it does so in time is the test of each service


def until(what: str, ready: Callable[[], Any], limit_s: float = _PATIENCE_S) -> Any:
    """What `ready` gives once it is true; an AssertionError that names `what` after the limit."""
    end_s = time.monotonic() + limit_s
    while True:
        if found := ready():
            return found
        assert time.monotonic() < end_s, f"{what}: not within {limit_s} s"
        time.sleep(0.02)


def model(sector: str, version: str = "1") -> ModelRef:
    """The model that the test plays."""
    return ModelRef(name=f"pairs_trading_gru_garch_{sector}_v1", version=version, digest=f"{sector}-{version}")


@dataclass(slots=True)
class World:
    """Servers, files and processes of one replay."""

    postgres_url: str
    redis_url: str
    kafka: str
    folder: Path
    recycler_port: int = field(default_factory=free_port)
    portfolio_port: int = field(default_factory=free_port)
    from_day: str = "2019-01-01"
    to_day: str = "2020-06-30"
    capital_usd: int = 1_000_000
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def data(self) -> Path:
        """Real daily closes of 20 stocks."""
        return skfolio_dataset(self.folder / "daily.parquet")

    def environment(self) -> dict[str, str]:
        """Settings of the portfolio."""
        recycler = f"127.0.0.1:{self.recycler_port}"
        return {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "TANDEM_CONFIG_DIR": str(ROOT / "config"),
            "TANDEM_KAFKA_BOOTSTRAP_SERVERS": self.kafka,
            "TANDEM_POSTGRES_URL": self.postgres_url,
            "TANDEM_REDIS_URL": self.redis_url,
            "TANDEM_ALPACA_KEY_ID": "test",
            "TANDEM_ALPACA_SECRET_KEY": "test",
            "TANDEM_ALPACA_STREAM_URL": f"ws://{recycler}/stream",
            "TANDEM_ALPACA_API_URL": f"http://{recycler}",
            "TANDEM_SOURCE": "recycled",
            "TANDEM_BAR": "1d",
            "TANDEM_PORT": str(self.portfolio_port),
            "TANDEM_API_TOKEN": TOKEN,
            "TANDEM_CAPITAL_USD": str(self.capital_usd),
        }

    def start(self, name: str, *argv: str) -> subprocess.Popen[bytes]:
        """A service as a child process; its output goes to a file that a failing test can show."""
        with (self.folder / f"{name}-{len(self.processes)}.log").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", f"tandem.{name}.main", *argv], env=self.environment(), stdout=output, stderr=output
            )
        self.processes.append(process)
        return process

    def start_recycler(self, *more: str) -> subprocess.Popen[bytes]:
        """The recycler, held, and waiting for the portfolio at every bar."""
        argv = ("--data", str(self.data), "--port", str(self.recycler_port), "--from", self.from_day, "--to", self.to_day)
        argv += (
            "--bar",
            "1d",
            "--speed",
            "max",
            "--lockstep",
            "--hold",
            "--participants",
            "portfolio",
            "--config-dir",
            str(ROOT / "config"),
        )
        process = self.start("recycler", *argv, *more)
        until("recycler is up", lambda: self.alive(process) and self.replay())
        return process

    def start_portfolio(self) -> subprocess.Popen[bytes]:
        """The portfolio, ready."""
        process = self.start("portfolio")
        until("portfolio is ready", lambda: self.alive(process) and self.ready())
        return process

    def alive(self, process: subprocess.Popen[bytes]) -> bool:
        """The process runs; an AssertionError with its last words otherwise."""
        assert process.poll() is None, f"exit code {process.returncode}: {self.last_words()}"
        return True

    def last_words(self) -> str:
        """The end of every log file."""
        return "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in sorted(self.folder.glob("*.log")))

    def replay(self) -> dict[str, Any] | None:
        """The recycler's status, None while it does not answer."""
        try:
            return dict(self._recycler("GET", "").json())
        except httpx.TransportError:
            return None

    def begin(self) -> None:
        """Leave the held state."""
        self._recycler("POST", "/start")

    def speed(self, value: float | str) -> None:
        """Times real time, from now on."""
        self._recycler("POST", "/speed", {"speed": value})

    def _recycler(self, method: str, button: str, body: dict[str, Any] | None = None) -> httpx.Response:
        url = f"http://127.0.0.1:{self.recycler_port}/tandem/v1/replay{button}"
        return httpx.request(method, url, headers=KEYS, json=body, timeout=ANSWER_S).raise_for_status()

    def ready(self) -> bool:
        """The portfolio says that it is ready."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.portfolio_port}/readyz", timeout=ANSWER_S).status_code == 200
        except httpx.TransportError:
            return False

    def ask(self, path: str, **query: Any) -> Any:
        """An answer of the portfolio's API."""
        return httpx.get(f"http://127.0.0.1:{self.portfolio_port}/v1/{path}", params=query, timeout=ANSWER_S).raise_for_status().json()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of the portfolio's tables."""
        connection = psycopg2.connect(self.postgres_url)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(query)
                return cursor.fetchall()
        finally:
            connection.close()

    def declare(self) -> None:
        """Pairs and routing pointers on the control topic."""
        create_topics(self.kafka, [])
        writer = KafkaWriter(self.kafka, "test")
        for sector, a, b, _ in PAIRS:
            spec = PairSpec(
                pair=PairId(f"{a}-{b}"),
                sector=SectorId(sector),
                leg_a=Symbol(a),
                leg_b=Symbol(b),
                entry_z=1.5,
                exit_z=0.3,
                stop_z=4.0,
                probability_min=0.5,
                notional_usd=Decimal(50_000),
                hold_half_lives_max=3.0,
            )
            ref = model(sector)
            publish_control(writer, spec, RoutingPointer(sector=SectorId(sector), version=ref.version, digest=ref.digest, epoch=1))
        writer.close()

    def publish_forecasts(self, replay_id: str, *, version: str = "1", after_ns: int = 0, to_ns: int | None = None) -> int:
        """A batch per sector and bar of the replay, then the end of the stream; the number of bars.

        after_ns, to_ns: of the bars in between only, without the end when there is a last one. There the replay waits for the rest.
        """
        writer = KafkaWriter(self.kafka, "test")
        batches = list(forecast_batches(self.data, self.from_day, self.to_day, replay_id, version))
        for number, batch in enumerate(batches):  # as if each had been made of one record of ticks
            if batch.bar_close_ns <= after_ns or (to_ns is not None and (batch.end_of_stream or batch.bar_close_ns > to_ns)):
                continue
            headers = {topics.HEADER_PUBLISHED: time.time_ns().to_bytes(8, "little"), topics.HEADER_TICKS: b"%d-%d" % (number, number)}
            writer.publish(topics.FORECASTS, encode_forecasts(batch), key=batch.sector.encode(), headers=headers)
        writer.close()
        return len({batch.bar_close_ns for batch in batches})

    def finish(self) -> None:
        """Wait until the portfolio has compared its book with the broker at the end of the stream, as long as it goes on deciding.

        How fast bars pass depends on what else the machine does; that none passes any more does not.
        """
        newest = "book = (SELECT max(book) FROM books)"
        compared = f"SELECT count(*) FROM reconciliations WHERE occasion = 'end_of_stream' AND {newest}"
        decided = f"SELECT coalesce(max(bar_close_ns), 0) FROM equity_curve WHERE {newest}"
        seen, end_s = 0, time.monotonic() + _LIMIT_S
        while all(map(self.alive, self.processes)):
            ((is_compared, place),) = self.rows(f"SELECT ({compared}), ({decided})")
            if is_compared:
                return
            if place != seen:
                seen, end_s = place, time.monotonic() + _LIMIT_S
            assert time.monotonic() < end_s, f"the end of the stream: not there, and no bar decided for {_LIMIT_S} s after {seen}"
            time.sleep(0.02)

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        """Ask a child to stop; its exit code."""
        process.send_signal(signal.SIGTERM)
        self.processes.remove(process)
        return process.wait(timeout=_END_S)

    def stop_all(self) -> None:
        """End every child."""
        for process in self.processes:
            process.kill()
            process.wait(timeout=_END_S)
        self.processes.clear()


@contextmanager
def world(**parts: Any) -> Iterator[World]:
    """A world whose processes end with the block."""
    made = World(**parts)
    try:
        yield made
    finally:
        made.stop_all()


def forecast_batches(data: Path, from_day: str, to_day: str, replay_id: str, version: str) -> Iterator[ForecastBatch]:
    """Forecasts made of the real closes: z against the mean of the last 60 days, in order of time, sector by sector."""
    from_ns, to_ns = (int(np.datetime64(day, "ns").astype(np.int64)) for day in (from_day, to_day))
    market = load_market_data(data, from_ns=from_ns - 120 * 86_400 * NS_PER_S, to_ns=to_ns + 86_400 * NS_PER_S)
    grid = session_grid("1d", from_ns, to_ns + 86_400 * NS_PER_S)
    closes = [int(c) for c in grid.close_ns if from_ns <= c < to_ns + 86_400 * NS_PER_S]
    prices: dict[str, dict[int, float]] = {symbol: {} for symbol in market.symbols}
    for tick in market.ticks:
        prices[market.symbols[tick["symbol"]]][int(tick["event_ns"]) + 1_000_000] = float(tick["price"])
    days = sorted(prices["KO"])
    for number, close_ns in enumerate(closes):
        for sector, a, b, beta in PAIRS:
            past = [day for day in days if day <= close_ns][-60:]
            spread = np.array([math.log(prices[a][day]) - beta * math.log(prices[b][day]) for day in past])
            forecast = _forecast((a, b, beta), spread, (prices[a][close_ns], prices[b][close_ns]), number)
            yield _batch(sector, replay_id, version, close_ns, (forecast,))
    for sector, *_ in PAIRS:
        yield _batch(sector, replay_id, version, closes[-1], (), end=True)


def _forecast(pair: tuple[str, str, float], spread: np.ndarray, last: tuple[float, float], number: int) -> Forecast:
    a, b, beta = pair
    z = float((spread[-1] - spread.mean()) / spread.std())
    variance = float(np.diff(spread).var())
    return Forecast(
        pair=PairId(f"{a}-{b}"),
        leg_a=Symbol(a),
        leg_b=Symbol(b),
        price_a=last[0],
        price_b=last[1],
        beta=beta,
        mu=float(spread.mean()),
        spread=float(spread[-1] - spread.mean()),
        expected_spread=float(spread[-1] - spread.mean()) * 0.95,
        z=z,
        variance=variance,
        garch_variance=variance,
        reversion_probability=0.7,
        half_life_bars=8.0,
        bar_index=number,
    )


def _batch(
    sector: str, replay_id: str, version: str, close_ns: int, forecasts: tuple[Forecast, ...], *, end: bool = False
) -> ForecastBatch:
    return ForecastBatch(
        sector=SectorId(sector),
        model=model(sector, version),
        source=Source.RECYCLED,
        replay_id=replay_id,
        bar_close_ns=close_ns,
        lockstep=True,
        end_of_stream=end,
        forecasts=forecasts,
    )
