"""The recorder's transaction: bars, scores and the positions of the topics that they came from, all or nothing.

A record's effect and its offset are one commit, so a recorder that was killed goes on as if nothing had happened.
Called by recorder/pump.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psycopg2
from psycopg2 import extensions

from tandem.adapters.bar_store import BarRow, failure, insert_bars, insert_rows
from tandem.adapters.market_events import MarketEvent, Revision, insert_events, revise_bars
from tandem.adapters.postgres import connect, place
from tandem.domain.forecasts import Forecast, ForecastBatch
from tandem.domain.ids import PairId, pair_legs
from tandem.domain.scores import ScoredForecast

_KEY = ("sector", "model_name", "model_version", "model_digest", "pair", "source", "replay_id", "bar_close_ns")
_FORECAST = (
    *("bar_index", "price_a", "price_b", "beta", "mu", "spread", "expected_spread", "z", "variance", "garch_variance"),
    *("reversion_probability", "half_life_bars"),
)
_OUTCOME = ("next_close_ns", "realised", "qlike", "garch_qlike")
_SCORE_CONFLICT = (
    f"({', '.join(_KEY)}) DO UPDATE SET {', '.join(f'{name} = EXCLUDED.{name}' for name in _OUTCOME)} "
    "WHERE forecast_scores.next_close_ns IS NULL AND EXCLUDED.next_close_ns IS NOT NULL"
)
_SAVE_POSITION = """
INSERT INTO consumer_positions (consumer, topic, partition, next_offset, restart_offset, source, replay_id, watermark_ns)
VALUES (%(consumer)s, %(topic)s, 0, %(next_offset)s, %(restart_offset)s, %(source)s, %(replay_id)s, %(watermark_ns)s)
ON CONFLICT (consumer, topic, partition) DO UPDATE SET next_offset = EXCLUDED.next_offset, restart_offset = EXCLUDED.restart_offset,
    source = EXCLUDED.source, replay_id = EXCLUDED.replay_id, watermark_ns = EXCLUDED.watermark_ns
"""
_SAVE_REPLAY = "INSERT INTO replays (replay_id) VALUES (%s) ON CONFLICT (replay_id) DO UPDATE SET last_seen_at = now()"
# By table, the column of event time that retention goes by, as text of SQL.
_AGING = {"bars": "closed_at", "forecast_scores": "closed_at", "market_events": "to_timestamp(event_ns / 1e9)"}
_REPLAY_TABLES = (*_AGING, "bar_revisions", "downloads")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How many days are kept; 0: for ever. Real bars and scores by their event time, replays by when they were last recorded."""

    bars_days: float = 0
    scores_days: float = 0
    replays_days: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far one topic has had effect. Names of the columns of consumer_positions; watermark_ns is None before the first heartbeat."""

    next_offset: int
    restart_offset: int
    source: str = ""
    replay_id: str = ""
    watermark_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """Rows that were new, or, for scores, new or completed."""

    bars: int
    scores: int
    events: int = 0
    revised: int = 0


class HistoryStore:
    """One connection to Postgres, made again after an error. Not for several threads at once."""

    def __init__(self, url: str, consumer: str) -> None:
        """consumer: whose positions these are. Raises Transient if the server is away."""
        self._url, self._consumer = url, consumer
        self._connection = connect(url, application=f"tandem-{consumer}")

    def positions(self) -> dict[str, Position]:
        """The stored position of each topic. Raises Transient."""
        query = (
            "SELECT topic, next_offset, restart_offset, source, replay_id, watermark_ns FROM consumer_positions "
            "WHERE consumer = %s AND partition = 0"
        )
        return {
            topic: Position(
                next_offset=next_offset,
                restart_offset=restart_offset,
                source=source,
                replay_id=replay_id,
                watermark_ns=watermark_ns,
            )
            for topic, next_offset, restart_offset, source, replay_id, watermark_ns in self._read(query, (self._consumer,))
        }

    def unscored(self, batch: ForecastBatch) -> dict[PairId, tuple[int, Forecast]]:
        """The newest forecast of each pair of the batch's stream that waits for its outcome, with its bar's close. Raises Transient."""
        query = (
            f"SELECT DISTINCT ON (pair) pair, bar_close_ns, {', '.join(_FORECAST)} FROM forecast_scores "  # noqa: S608 our own names
            "WHERE sector = %s AND model_name = %s AND model_version = %s AND model_digest = %s AND source = %s AND replay_id = %s "
            "AND next_close_ns IS NULL ORDER BY pair, bar_close_ns DESC"
        )
        model = batch.model
        key = (batch.sector, model.name, model.version, model.digest, batch.source.value, batch.replay_id)
        found = {}
        for pair, close_ns, *row in self._read(query, key):
            leg_a, leg_b = pair_legs(pair)
            forecast = Forecast(pair=PairId(pair), leg_a=leg_a, leg_b=leg_b, **dict(zip(_FORECAST, row, strict=True)))
            found[forecast.pair] = (close_ns, forecast)
        return found

    def save(
        self,
        bars: Iterable[BarRow],
        scores: Iterable[ScoredForecast],
        positions: Mapping[str, Position],
        *,
        events: Iterable[MarketEvent] = (),
        revisions: Sequence[Revision] = (),
    ) -> Saved:
        """Everything in one transaction; what is there already is left alone. Raises Transient, InvariantBroken."""
        try:
            with self._open() as connection, connection.cursor() as cursor:
                saved = Saved(
                    bars=insert_bars(cursor, bars),
                    scores=insert_rows(
                        cursor, "forecast_scores", (*_KEY, *_FORECAST, *_OUTCOME), map(_score_row, scores), on_conflict=_SCORE_CONFLICT
                    ),
                    events=insert_events(cursor, events),
                    revised=revise_bars(cursor, revisions),
                )
                for topic, position in sorted(positions.items()):
                    cursor.execute(_SAVE_POSITION, {"consumer": self._consumer, "topic": topic, **asdict(position)})
                for replay_id in sorted({each.replay_id for each in positions.values()} - {""}):
                    cursor.execute(_SAVE_REPLAY, (replay_id,))
        except psycopg2.Error as error:
            self._connection.close()
            raise failure(f"cannot write to {place(self._url)}", error) from error
        return saved

    def forget(self, retention: Retention) -> dict[str, int]:
        """Delete what is older than it is to be kept; rows by table, those without any left out. Raises Transient."""
        days = {"bars": retention.bars_days, "forecast_scores": retention.scores_days, "market_events": retention.bars_days}
        gone: dict[str, int] = {}
        try:
            with self._open() as connection, connection.cursor() as cursor:
                for table, column in _AGING.items():
                    if days[table]:
                        query = f"DELETE FROM {table} WHERE source <> 'recycled' AND {column} < now() - %s * interval '1 day'"  # noqa: S608 our own names
                        cursor.execute(query, (days[table],))
                        gone[table] = cursor.rowcount
                if retention.replays_days:
                    cursor.execute(
                        "DELETE FROM replays WHERE last_seen_at < now() - %s * interval '1 day' RETURNING replay_id",
                        (retention.replays_days,),
                    )
                    ended = [replay_id for (replay_id,) in cursor.fetchall()]
                    for table in _REPLAY_TABLES if ended else ():
                        query = f"DELETE FROM {table} WHERE source = 'recycled' AND replay_id = ANY(%s)"  # noqa: S608 our own names
                        cursor.execute(query, (ended,))
                        gone[table] = gone.get(table, 0) + cursor.rowcount
        except psycopg2.Error as error:
            self._connection.close()
            raise failure(f"retention at {place(self._url)}", error) from error
        return {table: count for table, count in gone.items() if count}

    def close(self) -> None:
        """Let go of the connection; what was not saved is not there."""
        self._connection.close()

    def _open(self) -> extensions.connection:
        if self._connection.closed:
            self._connection = connect(self._url, application=f"tandem-{self._consumer}")
        return self._connection

    def _read(self, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        try:
            with self._open() as connection, connection.cursor() as cursor:
                cursor.execute(query, values)
                return cursor.fetchall()
        except psycopg2.Error as error:
            self._connection.close()
            raise failure(f"cannot read from {place(self._url)}", error) from error


def _score_row(score: ScoredForecast) -> tuple[object, ...]:
    forecast, model = score.forecast, score.model
    key = (score.sector, model.name, model.version, model.digest, forecast.pair, score.source.value, score.replay_id, score.bar_close_ns)
    after = (None,) * len(_OUTCOME) if score.outcome is None else tuple(getattr(score.outcome, name) for name in _OUTCOME)
    return (*key, *(getattr(forecast, name) for name in _FORECAST), *after)
