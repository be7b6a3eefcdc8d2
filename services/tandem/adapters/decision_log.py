"""Decisions of rebaselining in Postgres, one writer at a time for each sector. Called by trainer/rebaseline.py and cli/models.py."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any

import psycopg2
from psycopg2 import extensions
from psycopg2.extras import Json, RealDictCursor

from tandem.adapters.bar_store import failure
from tandem.adapters.postgres import connect, place
from tandem.domain.ids import SectorId
from tandem.rollout.gates import Gate, Need

Row = dict[str, Any]
_ATTEMPT = (
    "(SELECT coalesce(max(attempt), 0) + 1 FROM rebaseline_decisions WHERE sector = %(sector)s AND timeframe = %(timeframe)s "
    "AND source = %(source)s AND session_day = %(session_day)s)"
)


class Outcome(StrEnum):
    """What became of a run."""

    REGISTERED = "registered"
    REJECTED = "rejected"  # trained, or tried to; a gate did not pass
    NOT_NEEDED = "not_needed"
    SKIPPED = "skipped"  # no session
    FAILED = "failed"  # a server was away; the day is still open


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One row of rebaseline_decisions; see the migration for the columns."""

    sector: SectorId
    timeframe: str
    source: str
    session_day: date
    outcome: Outcome
    reason: str
    weekly: bool
    half_day: bool
    decided_ns: int
    model_name: str
    needs: tuple[Need, ...] = ()
    gates: tuple[Gate, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    champion_version: str = ""
    champion_digest: str = ""
    model_version: str = ""
    model_digest: str = ""
    data_digest: str = ""
    trained_from_ns: int | None = None
    trained_to_ns: int | None = None


class DecisionLog:
    """One database. Raises Transient when the server is away."""

    def __init__(self, url: str) -> None:
        self._url = url

    @contextmanager
    def lock(self, sector: SectorId, timeframe: str, source: str) -> Iterator[bool]:
        """Hold the sector's run as long as the block lasts; False when somebody else holds it. The server lets go when we die."""
        connection = connect(self._url, application="tandem-rebaseline")
        try:
            connection.autocommit = True  # no transaction stays open while a model trains
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (f"tandem-rebaseline {sector} {timeframe} {source}",)
                )
                row = cursor.fetchone()
            yield row is not None and bool(row[0])
        except psycopg2.Error as error:
            raise failure(f"decisions at {place(self._url)}", error) from error
        finally:
            connection.close()

    def decided(self, sector: SectorId, timeframe: str, source: str, day: date) -> Row | None:
        """The newest decision of a day that was not a failure; None while the day is open."""
        rows = self._read(
            "SELECT * FROM rebaseline_decisions WHERE sector = %s AND timeframe = %s AND source = %s AND session_day = %s "
            "AND outcome <> 'failed' ORDER BY attempt DESC LIMIT 1",
            (sector, timeframe, source, day),
        )
        return rows[0] if rows else None

    def record(self, decision: Decision) -> int:
        """Store a decision as the day's next attempt, and return its number."""
        row = asdict(decision)
        row |= {"outcome": str(decision.outcome), "metrics": Json(dict(decision.metrics))}
        row |= {name: Json([asdict(one) for one in getattr(decision, name)]) for name in ("needs", "gates")}
        columns, values = ", ".join(row), ", ".join(f"%({name})s" for name in row)
        statement = f"INSERT INTO rebaseline_decisions ({columns}, attempt) VALUES ({values}, {_ATTEMPT}) RETURNING attempt"  # noqa: S608 our own names
        return int(self._read(statement, row)[0]["attempt"])

    def recent(self, *, sector: str = "", limit: int = 30) -> list[Row]:
        """Decisions, newest first."""
        return self._read(
            "SELECT * FROM rebaseline_decisions WHERE %(sector)s = '' OR sector = %(sector)s "
            "ORDER BY session_day DESC, sector, timeframe, source, attempt DESC LIMIT %(limit)s",
            {"sector": sector, "limit": limit},
        )

    def _read(self, query: str, values: Any) -> list[Row]:
        connection: extensions.connection = connect(self._url, application="tandem-rebaseline")
        try:
            with connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
                cursor.execute(query, values)
                return [dict(row) for row in cursor.fetchall()]
        except psycopg2.Error as error:
            raise failure(f"decisions at {place(self._url)}", error) from error
        finally:
            connection.close()
