"""What happened to symbols besides trades, and revisions of stored bars, in Postgres; within the recorder's transaction."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields

from psycopg2 import extensions

from tandem.adapters.bar_store import insert_rows
from tandem.domain.ids import Symbol
from tandem.domain.market import KIND_BAND_HIGH, KIND_BAND_LOW, KIND_CANCEL, KIND_CORRECTION, KIND_STATUS, Bar

KIND_NAMES: Mapping[int, str] = {
    KIND_CORRECTION: "correction",
    KIND_CANCEL: "cancel",
    KIND_STATUS: "status",
    KIND_BAND_LOW: "band_low",
    KIND_BAND_HIGH: "band_high",
}
_BAR = ("open", "high", "low", "close", "volume", "trades")
_KEY = "symbol = %(symbol)s AND timeframe = %(timeframe)s AND source = %(source)s AND replay_id = %(replay_id)s AND close_ns = %(close_ns)s"
_KEEP_OLD = f"""
INSERT INTO bar_revisions (symbol, timeframe, source, replay_id, close_ns, event_ns, kind, trade_id, {", ".join(_BAR)})
SELECT symbol, timeframe, source, replay_id, close_ns, %(event_ns)s, %(kind)s, %(trade_id)s, {", ".join(_BAR)} FROM bars WHERE {_KEY}
ON CONFLICT DO NOTHING
"""  # noqa: S608 our own names
_UPDATE = f"UPDATE bars SET {', '.join(f'{name} = %({name})s' for name in _BAR)} WHERE {_KEY}"  # noqa: S608 our own names
_DELETE = f"DELETE FROM bars WHERE {_KEY}"  # noqa: S608 our own names


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketEvent:
    """A row of market_events; the fields are its columns."""

    symbol: Symbol
    source: str
    replay_id: str
    event_ns: int
    kind: str
    trade_id: int
    price: float
    size: int
    flags: int
    topic: str
    record_offset: int
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """What an amendment made of a stored bar; bar None: no trade of it is left."""

    event: MarketEvent
    timeframe: str
    close_ns: int
    bar: Bar | None


def insert_events(cursor: extensions.cursor, events: Iterable[MarketEvent]) -> int:
    """Add the events that are new; how many were."""
    columns = tuple(field.name for field in fields(MarketEvent))
    return insert_rows(cursor, "market_events", columns, map(astuple, events), on_conflict="DO NOTHING")


def revise_bars(cursor: extensions.cursor, revisions: Sequence[Revision]) -> int:
    """Keep each old bar and put the new one in its place; the bars that changed. An amendment that was applied already changes nothing."""
    changed = 0
    for revision in revisions:
        event = revision.event
        values = {
            "symbol": event.symbol,
            "timeframe": revision.timeframe,
            "source": event.source,
            "replay_id": event.replay_id,
            "close_ns": revision.close_ns,
            "event_ns": event.event_ns,
            "kind": event.kind,
            "trade_id": event.trade_id,
        }
        cursor.execute(_KEEP_OLD, values)
        if cursor.rowcount == 0:
            continue
        changed += 1
        if revision.bar is None:
            cursor.execute(_DELETE, values)
        else:
            cursor.execute(_UPDATE, values | {name: getattr(revision.bar, name) for name in _BAR})
    return changed
