"""The market and the portfolio of a release, from outside: how many bars to play, what was decided, and whether nothing is missing."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import httpx

from cluster.isolation import NAMESPACE
from cluster.release import NAME, Release
from cluster.steps import check, eventually, say
from tandem.adapters import topics
from tandem.adapters.alpaca_broker import AlpacaBroker
from tandem.adapters.codec import decode_forecasts
from tandem.adapters.postgres import connect
from tandem.local.measure import count_kafka, end_offsets, read_all
from tandem.local.report import Book, compare

ACCOUNT = "paper"
_SESSION_S = 23_400  # a replay's speed is market seconds for one of ours, and its nights take no time
_BAR_S_MAX = 2.0  # of a busy node with two cores
_PATIENCE_S = 240.0  # until a part that was killed takes part again
_KEYS = {"APCA-API-KEY-ID": "recycled", "APCA-API-SECRET-KEY": "recycled"}  # the recycler takes any
_RECYCLER = f"http://{NAME}-recycler.{NAMESPACE}.svc:8080"
_PORTFOLIO = f"http://{NAME}-portfolio-{ACCOUNT}.{NAMESPACE}.svc:8080"
_KAFKA = f"{NAME}-kafka.{NAMESPACE}.svc:9092"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What there is when the market rests: all of it counted where it lies."""

    bars: int
    ticks: int
    forecasts: int
    orders: int
    fills: int
    open_pairs: int

    def __str__(self) -> str:
        return (
            f"{self.bars} bars, {self.ticks} ticks, {self.forecasts} forecasts, {self.orders} orders, {self.fills} fills, "
            f"{self.open_pairs} pairs open"
        )


class Market:
    """The recycler's replay and what came of it."""

    def __init__(self, release: Release, sector: str) -> None:
        self._release, self._sector = release, sector
        self._http = httpx.Client(timeout=30, headers=_KEYS, trust_env=False)
        self._database = release.secret(f"{NAME}-postgres", "url")

    def close(self) -> None:
        """Give back its sockets."""
        self._http.close()

    def begin(self, bars: int, *, bars_per_s: float | None = None) -> None:
        """Let so many more bars come, as fast as everybody takes them unless a pace is given; does not wait for them."""
        self._ask("POST", "/speed", {"speed": "max" if bars_per_s is None else bars_per_s * _SESSION_S})
        self._ask("POST", "/step", {"bars": bars})

    def await_bar(self, number: int) -> None:
        """Wait until so many bars have come. Raises Unmet."""
        self._eventually(lambda: self.status()["bars"] >= number, f"bar {number}", _PATIENCE_S)

    def settle(self, bars: int) -> None:
        """Wait until all bars that were begun have been acted on. Raises Unmet, naming who is waited for."""
        self._eventually(self._rests, f"{bars} bars to be acted on", _PATIENCE_S + bars * _BAR_S_MAX)
        self._eventually(self._recorded, "the recorder to have written them", _PATIENCE_S)

    def play(self, bars: int) -> None:
        """Begin, and settle."""
        self.begin(bars)
        self.settle(bars)

    def stroll(self, bars_per_s: float) -> None:
        """From now on go on by itself, slowly."""
        self._ask("POST", "/speed", {"speed": bars_per_s * _SESSION_S})
        self._ask("POST", "/resume", {})

    def halt(self) -> None:
        """Let no further bar come, and wait until all that came have been acted on."""
        self._ask("POST", "/pause", {})
        self.settle(1)

    def pairs(self) -> list[dict[str, Any]]:
        """What the portfolio says of every pair."""
        answer = self._http.get(f"{_PORTFOLIO}/v1/pairs")
        check(answer.is_success, f"the portfolio answers {answer.status_code}: {answer.text[:300]}")
        return list(answer.json())

    def status(self) -> dict[str, Any]:
        """Where the replay is."""
        return self._ask("GET", "", None)

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Rows of the ledger's database."""
        with closing(connect(self._database)) as connection:
            return Book(connection).rows(query, *parameters)

    def verify(self) -> Tally:
        """With the market at rest: nothing is lost, nothing is there twice, and the ledger is the broker's. Raises Unmet."""
        status = self.status()
        counts = count_kafka(_KAFKA, [self._sector])
        check(counts.ticks == status["ticks_sent"], f"{status['ticks_sent']} ticks sent, {counts.ticks} in Kafka")
        check(counts.parked == 0, f"{counts.parked} records parked in the dead-letter topic")
        lost = self._bars_without_forecast()
        check(not lost, f"{len(lost)} bars have no forecast between the first and the last: {lost[:5]}")
        with closing(connect(self._database)) as connection:
            book = Book(connection)
            differences = compare(book, AlpacaBroker(key_id="recycled", secret_key="recycled", url=_RECYCLER))
            check(not differences, "; ".join(differences))
            unequal = book.count("reconciliations", "NOT equal")
            check(unequal == 0, f"{unequal} comparisons of the ledger with the broker found a difference")
            twice = book.rows(
                "SELECT pair, bar_close_ns, count(*) FROM intents WHERE action LIKE 'open%%' GROUP BY 1, 2 HAVING count(*) > 1"
            )
            check(not twice, f"a bar was acted on twice: {twice}")
            tally = Tally(
                bars=status["bars"],
                ticks=counts.ticks,
                forecasts=counts.forecasts,
                orders=book.count("orders"),
                fills=book.count("fills"),
                open_pairs=book.count("pair_states", "state <> 'flat'"),
            )
        say(f"  nothing lost, nothing twice, the ledger equals the broker: {tally}")
        return tally

    def _bars_without_forecast(self) -> list[int]:
        """Closes of bars that some version has forecast before and after, but none at: a hole in the sector's watermarks."""
        batches = [decode_forecasts(record.value or b"") for record in read_all(_KAFKA, topics.FORECASTS)]
        closes = {batch.bar_close_ns for batch in batches if batch.sector == self._sector}
        scheduled = {int(ns) for (ns,) in self.rows("SELECT DISTINCT close_ns FROM bars")}
        first, last = min(closes, default=0), max(closes, default=0)
        return sorted(ns for ns in scheduled - closes if first <= ns <= last)

    def _rests(self) -> bool:
        return bool(self.status()["state"] in ("paused", "ended"))

    def _recorded(self) -> bool:
        written = {topic: int(offset) for topic, offset in self.rows("SELECT topic, next_offset FROM consumer_positions")}
        names = [topics.FORECASTS, topics.ticks(self._sector)]
        return all(written.get(topic, 0) >= end for topic, end in end_offsets(_KAFKA, names).items())

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        answer = self._http.request(method, f"{_RECYCLER}/tandem/v1/replay{path}", json=body)
        check(answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return dict(answer.json())

    def _eventually(self, ask: Callable[[], object], what: str, timeout_s: float) -> None:
        def told() -> str:
            status = self.status()
            return f"replay {status['state']}, waits for {status['waiting_for']}, late {status['late']}\n{self._release.told()}"

        eventually(ask, what, timeout_s, told)
