"""A parked message of the market-data stream, read again by the rules of today and put into the sectors' topics.

Called by `tandem deadletter replay`. The same rules as the live way: a tick that a topic holds already is left out, and one whose bar has
closed is refused, because every reader would park it again.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgpack
import numpy as np

from tandem.domain.errors import BadRecord
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import TICK_DTYPE, TickArray, TickFrame
from tandem.ingestor.happenings import Happenings
from tandem.ingestor.past import Past
from tandem.ingestor.quotes import read_quotes
from tandem.ingestor.trades import Parked, read_trades


def read_again(payload: bytes, symbols: Sequence[Symbol], now_ns: int, pasts: Mapping[SectorId, Past] = MappingProxyType({})) -> TickArray:
    """The ticks of one parked message, `symbol` being the place in `symbols`. Raises BadRecord: it is still unusable, and why.

    pasts: of the sectors; a status is a change of what its symbol is in their topics.
    """
    try:
        message: Any = msgpack.unpackb(payload)
    except (ValueError, msgpack.UnpackException) as error:
        raise BadRecord("payload_malformed", f"not msgpack: {error}") from error
    kind = message.get("T") if isinstance(message, dict) else None
    places: dict[str, int] = {symbol: place for place, symbol in enumerate(symbols)}
    parked: tuple[Parked, ...] = ()
    match kind:
        case "t":
            ticks, parked = read_trades([message], places, now_ns)
        case "q":
            ticks, parked = read_quotes([message], places, now_ns)
        case "c" | "x" | "s" | "l":
            happenings = Happenings()
            for past in pasts.values():
                happenings.restore(past.flags)
            ticks = np.array(happenings.read(kind, message, places, now_ns), TICK_DTYPE)
        case _:
            raise BadRecord("type_unknown", f"T {kind!r}: no tick can come of it")
    if parked:
        raise parked[0].error
    return ticks


def frames_of(
    ticks: TickArray, symbols: Sequence[Symbol], routes: Mapping[SectorId, tuple[Symbol, ...]], pasts: Mapping[SectorId, Past]
) -> list[TickFrame]:
    """A frame for each sector that follows the symbol and lacks the ticks. Raises BadRecord where their bar has closed."""
    symbol = symbols[int(ticks["symbol"][0])]
    frames = []
    for sector, members in routes.items():
        if symbol not in members:
            continue
        past = pasts.get(sector)
        if past is None:
            raise BadRecord("sector_empty", f"sector {sector} has had no tick yet: which stream it belongs to is not known")
        event_ns = int(ticks["event_ns"][0])
        if past.watermark_ns is not None and event_ns < past.watermark_ns:
            raise BadRecord(
                "tick_late", f"event time {event_ns} ns, sector {sector} has reached {past.watermark_ns} ns: the bar has closed"
            )
        if not _holds(past, symbol, ticks):
            mine = ticks.copy()
            mine["symbol"] = members.index(symbol)
            frames.append(TickFrame(sector=sector, source=past.source, replay_id=past.replay_id, symbols=members, ticks=mine))
    return frames


def _holds(past: Past, symbol: Symbol, ticks: TickArray) -> bool:
    if symbol not in past.symbols:
        return False
    mine = past.ticks[past.ticks["symbol"] == past.symbols.index(symbol)]
    same = [(mine[name][:, None] == ticks[name]) for name in ("event_ns", "trade_id", "kind", "price", "size", "flags")]
    return bool(np.logical_and.reduce(same).any())
