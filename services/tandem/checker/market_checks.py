"""Ticks in Kafka against the recording: none lost, none doubled, none altered, none behind its watermark, as corrected."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tandem.checker.evidence import Evidence, Recording, SectorTicks
from tandem.checker.tally import Tally
from tandem.domain.market import KIND_CANCEL, KIND_CORRECTION, KIND_TRADE, TICK_DTYPE, Heartbeat, TickArray, TickFrame

_SHOWN = 3
_OF_TRADES = (KIND_TRADE, KIND_CORRECTION, KIND_CANCEL)


def ticks_complete(evidence: Evidence, tally: Tally) -> None:
    """Every trade of the recording that a sector's pairs need is in the sector's topic."""
    for sector in evidence.sectors or ():
        reached_ns = None if evidence.ended else max((beat.watermark_ns for beat in heartbeats(sector)), default=0)
        for symbol in _symbols_of(evidence, sector.sector):
            wanted = _printed(_recorded(evidence.recording, symbol, reached_ns))
            missing = np.setdiff1d(wanted["trade_id"], _printed(_rows(sector, symbol))["trade_id"])
            tally.expect_all(len(wanted), len(missing), f"{sector.sector}: {symbol} lacks {_few(missing)}")


def ticks_once(evidence: Evidence, tally: Tally) -> None:
    """No trade is in a topic twice."""
    for sector in evidence.sectors or ():
        for symbol in _symbols_in(sector):
            ids, counts = np.unique(_printed(_rows(sector, symbol))["trade_id"], return_counts=True)
            again = ids[counts > 1]
            tally.expect_all(int(counts.sum()), int((counts - 1).sum()), f"{sector.sector}: {symbol} holds {_few(again)} again")


def ticks_unaltered(evidence: Evidence, tally: Tally) -> None:
    """A trade in a topic, as corrected, is as recorded: time, price, size, conditions. Others are cancelled there or set no price."""
    for sector in evidence.sectors or ():
        for symbol in _symbols_in(sector):
            found, wanted = _standing(_rows(sector, symbol)), _standing(_recorded(evidence.recording, symbol, None))
            moves_nothing = (found["flags"] != 0) & ~np.isin(found["trade_id"], wanted["trade_id"])
            wrong = found["trade_id"][~_among(found, wanted) & ~moves_nothing]
            tally.expect_all(len(found), len(wrong), f"{sector.sector}: {symbol} differs in {_few(wrong)}")


def amendments_follow_their_trade(evidence: Evidence, tally: Tally) -> None:
    """A correction or a cancel in a topic comes after the trade that it names."""
    for sector in evidence.sectors or ():
        for symbol in _symbols_in(sector):
            rows = _rows(sector, symbol)
            seen: set[int] = set()
            for kind, trade_id in zip(rows["kind"].tolist(), rows["trade_id"].tolist(), strict=True):
                if kind == KIND_TRADE:
                    seen.add(trade_id)
                else:
                    tally.expect(trade_id in seen, f"{sector.sector}: {symbol} amends trade {trade_id}, which did not come before")


def ticks_before_watermark(evidence: Evidence, tally: Tally) -> None:
    """After a heartbeat no tick of an earlier event time follows, and heartbeats never go back."""
    for sector in evidence.sectors or ():
        watermark_ns = 0
        for offset, record in sector.records:
            where = f"{sector.sector}@{offset}"
            if isinstance(record, Heartbeat):
                tally.expect(record.watermark_ns >= watermark_ns, f"{where}: watermark {record.watermark_ns} after {watermark_ns}")
                watermark_ns = max(watermark_ns, record.watermark_ns)
            elif len(record.ticks):
                late = int((record.ticks["event_ns"] < watermark_ns).sum())
                tally.expect_all(len(record.ticks), late, f"{where}: {late} ticks before the watermark {watermark_ns}")


def ticks_labelled(evidence: Evidence, tally: Tally) -> None:
    """Every record of a tick topic can be read, is of the topic's sector, and all of a replay name one source."""
    for sector in evidence.sectors or ():
        for problem in sector.unreadable:
            tally.expect(False, f"{sector.sector}: {problem}")
        sources = sorted({record.source for _, record in sector.records})
        tally.expect(len(sources) <= 1, f"{sector.sector}: sources {', '.join(sources)} in one replay")
        for offset, record in sector.records:
            tally.expect(record.sector == sector.sector, f"{sector.sector}@{offset} says {record.sector}")


def heartbeats(sector: SectorTicks) -> list[Heartbeat]:
    """A topic's heartbeats, each watermark once, in order."""
    found: dict[int, Heartbeat] = {}
    for _, record in sector.records:
        if isinstance(record, Heartbeat):
            found.setdefault(record.watermark_ns, record)
    return [found[watermark_ns] for watermark_ns in sorted(found)]


def _among(found: TickArray, wanted: TickArray) -> NDArray[np.bool_]:
    """Which of the trades found are in the recording as they are."""
    if not len(wanted):
        return np.zeros(len(found), np.bool_)
    order = np.argsort(wanted["trade_id"], kind="stable")
    places = np.searchsorted(wanted["trade_id"], found["trade_id"], sorter=order)
    rows = wanted[order[np.minimum(places, len(wanted) - 1)]]
    same = np.ones(len(found), np.bool_)
    for column in ("trade_id", "event_ns", "price", "size", "flags"):
        same &= rows[column] == found[column]
    return same


def _symbols_of(evidence: Evidence, sector: str) -> list[str]:
    return sorted({leg for pair in evidence.pairs if pair.sector == sector for leg in (pair.leg_a, pair.leg_b)})


def _frames(sector: SectorTicks) -> Iterator[TickFrame]:
    return (record for _, record in sector.records if isinstance(record, TickFrame))


def _symbols_in(sector: SectorTicks) -> list[str]:
    return sorted({frame.symbols[n] for frame in _frames(sector) for n in np.unique(frame.ticks["symbol"])})


def _rows(sector: SectorTicks, symbol: str) -> TickArray:
    """The symbol's trades, corrections and cancels in the topic, in order of offset."""
    parts = []
    for frame in _frames(sector):
        names: tuple[str, ...] = frame.symbols
        if symbol in names:
            rows = frame.ticks["symbol"] == names.index(symbol)
            parts.append(frame.ticks[rows & np.isin(frame.ticks["kind"], _OF_TRADES)])
    return np.concatenate(parts) if parts else np.empty(0, TICK_DTYPE)


def _recorded(recording: Recording | None, symbol: str, until_ns: int | None) -> TickArray:
    if recording is None or symbol not in recording.symbols:
        return np.empty(0, TICK_DTYPE)
    rows = recording.ticks[recording.ticks["symbol"] == recording.symbols.index(symbol)]
    rows = rows[np.isin(rows["kind"], _OF_TRADES)]
    return rows if until_ns is None else rows[rows["event_ns"] < until_ns]


def _printed(rows: TickArray) -> TickArray:
    """The trades among them as they were printed."""
    return rows[rows["kind"] == KIND_TRADE]


def _standing(rows: TickArray) -> TickArray:
    """The trades among them as they stand after all corrections and cancels that follow them."""
    if (rows["kind"] == KIND_TRADE).all():
        return rows
    places: dict[int, int] = {}
    rows, stands = rows.copy(), rows["kind"] == KIND_TRADE
    for place, row in enumerate(rows):
        trade_id, before = int(row["trade_id"]), places.get(int(row["trade_id"]))
        if row["kind"] == KIND_TRADE:
            places[trade_id] = place
        elif before is not None and row["kind"] == KIND_CANCEL:
            stands[before] = False
        elif before is not None:
            rows["price"][before], rows["size"][before], rows["flags"][before] = row["price"], row["size"], row["flags"]
    return rows[stands]


def _few(ids: NDArray[np.int64]) -> str:
    shown = ", ".join(str(n) for n in ids[:_SHOWN].tolist())
    return f"{len(ids)} trades ({shown}{', ...' if len(ids) > _SHOWN else ''})"
