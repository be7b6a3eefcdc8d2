"""What the market last said of each symbol of a model: last trade, quote, halt, price band. One row a symbol, folded over frames.

The view is as new as the log: it may hold what happened after the close of the bar that a batch is about, so that a halt that is known
stops an order. A trade that comes out of order, that may not set prices (its flags are not 0: domain/conditions.py), or whose correction
names another one than the last, changes nothing here. Called by sector.py. Decides nothing: what a halt or an old quote means is the
portfolio's business.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tandem.domain.forecasts import MarketColumns, MarketState, told_columns
from tandem.domain.ids import Symbol
from tandem.domain.market import (
    KIND_ASK,
    KIND_BAND_HIGH,
    KIND_BAND_LOW,
    KIND_BID,
    KIND_CANCEL,
    KIND_CORRECTION,
    KIND_STATUS,
    KIND_TRADE,
    STATUS_HALTED,
    STATUS_SHORT_RESTRICTED,
    TickArray,
    TickFrame,
)

_ROW = np.dtype(
    [
        ("last_usd", "<f8"),
        ("last_ns", "<i8"),
        ("last_id", "<i8"),
        ("bid_usd", "<f8"),
        ("ask_usd", "<f8"),
        ("bid_ns", "<i8"),
        ("ask_ns", "<i8"),
        ("low_usd", "<f8"),
        ("high_usd", "<f8"),
        ("status_ns", "<i8"),
        ("resumed_ns", "<i8"),  # end of the last halt; 0: none is known
        ("flags", "u1"),  # STATUS_*
        ("known", "?"),
        ("turned", "?"),  # halt, restriction or band changed since it was last told
    ],
    align=True,
)
_QUOTE_FIELDS = {KIND_BID: ("bid_usd", "bid_ns"), KIND_ASK: ("ask_usd", "ask_ns")}
_BAND_FIELDS = {KIND_BAND_LOW: "low_usd", KIND_BAND_HIGH: "high_usd"}
_Rows = NDArray[np.void]
LastTrade = Callable[[Symbol], tuple[float, int] | None]


def _unknown(_: Symbol) -> tuple[float, int] | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarketView:
    """Rows in order of symbol. Arrays are never changed in place."""

    symbols: tuple[Symbol, ...]  # ascending
    rows: _Rows
    turned: bool  # whether any row's `turned` is set
    named: tuple[Symbol, ...] = ()  # of the last frame, and where they stand: frames of a stream name the same ones
    places: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))


def initial_view(symbols: Sequence[Symbol]) -> MarketView:
    """Nothing is known of any of them."""
    ordered = tuple(sorted(set(symbols)))
    return MarketView(symbols=ordered, rows=np.zeros(len(ordered), _ROW), turned=False)


def see(view: MarketView, frame: TickFrame, last_trade: LastTrade = _unknown) -> MarketView:
    """The view after a frame; symbols that are not in it are passed over. last_trade: of a symbol, after corrections and cancels."""
    ticks = frame.ticks
    if len(ticks) == 0:
        return view
    if view.named != frame.symbols:
        place = {symbol: i for i, symbol in enumerate(view.symbols)}
        view = replace(view, named=frame.symbols, places=np.array([place.get(s, -1) for s in frame.symbols], np.intp))
    places = view.places[ticks["symbol"]]
    followed = places >= 0
    if not followed.all():
        ticks, places = ticks[followed], places[followed]
    rows = view.rows.copy()
    kinds = ticks["kind"]
    if (kinds == KIND_TRADE).all():
        _trades(rows, ticks, places)
        return replace(view, rows=rows)
    turned = _mixed(rows, ticks, places)
    gone = (kinds == KIND_CANCEL) | ((kinds == KIND_CORRECTION) & (ticks["flags"] != 0))
    for place in np.unique(places[gone]).tolist():
        if rows["last_ns"][place] == 0 and (found := last_trade(view.symbols[place])) is not None:
            rows["last_usd"][place], rows["last_ns"][place] = found
    return replace(view, rows=rows, turned=view.turned or turned)


def told(view: MarketView, *, whole: bool) -> tuple[MarketView, Sequence[MarketState]]:
    """(view that has told, states in order of symbol). whole: of every known symbol; else of those whose halt or band turned."""
    if not whole and not view.turned:
        return view, ()
    rows = view.rows
    chosen = np.flatnonzero(rows["known"] if whole else rows["turned"])
    if view.turned:
        told_rows = rows.copy()
        told_rows["turned"] = False
        view = replace(view, rows=told_rows, turned=False)
    return view, _states(view.symbols, chosen, rows[chosen])


def _states(symbols: tuple[Symbol, ...], chosen: NDArray[np.intp], rows: _Rows) -> MarketColumns:
    columns = {
        "last_usd": rows["last_usd"],
        "last_ns": rows["last_ns"],
        "bid_usd": rows["bid_usd"],
        "ask_usd": rows["ask_usd"],
        "quote_ns": np.maximum(rows["bid_ns"], rows["ask_ns"]),
        "halted": rows["flags"] & STATUS_HALTED != 0,
        "short_restricted": rows["flags"] & STATUS_SHORT_RESTRICTED != 0,
        "band_low_usd": rows["low_usd"],
        "band_high_usd": rows["high_usd"],
        "resumed_ns": rows["resumed_ns"],
    }
    told_of = {name: column.tolist() for name, column in columns.items()}
    return MarketColumns(told_columns({"symbol": [symbols[i] for i in chosen.tolist()], **told_of}))


def _mixed(rows: _Rows, ticks: TickArray, places: NDArray[np.intp]) -> bool:
    """All kinds of one frame; whether a halt or a band turned. Kinds touch different columns, so that their order does not matter,
    except that a correction comes after the trade it names and is therefore taken last.
    """
    kinds = ticks["kind"]
    turned = False
    for kind in np.unique(kinds).tolist():
        chosen = kinds == kind
        some, where = ticks[chosen], places[chosen]
        if kind == KIND_TRADE:
            _trades(rows, some, where)
        elif kind in _QUOTE_FIELDS:
            usd, ns = _QUOTE_FIELDS[kind]
            some, where = _not_before(rows, ns, some, where)
            rows[usd][where], rows[ns][where], rows["known"][where] = some["price"], some["event_ns"], True
        elif kind == KIND_STATUS:
            turned |= _statuses(rows, some, where)
        elif kind in _BAND_FIELDS:
            turned |= bool((rows[_BAND_FIELDS[kind]][where] != some["price"]).any())
            rows[_BAND_FIELDS[kind]][where], rows["turned"][where], rows["known"][where] = some["price"], True, True
    amends = (kinds == KIND_CORRECTION) | (kinds == KIND_CANCEL)
    for tick, place in zip(ticks[amends].tolist(), places[amends].tolist(), strict=True):
        _amend(rows, tick, place)
    return turned


def _not_before(rows: _Rows, name: str, ticks: TickArray, places: NDArray[np.intp]) -> tuple[TickArray, NDArray[np.intp]]:
    """Those that are not older than what the row has, in order of event time, ties in order of arrival: the last assignment wins."""
    event_ns = ticks["event_ns"]
    if (event_ns[1:] < event_ns[:-1]).any():
        order = np.argsort(event_ns, kind="stable")
        ticks, places, event_ns = ticks[order], places[order], event_ns[order]
    fresh = event_ns >= rows[name][places]
    return (ticks, places) if fresh.all() else (ticks[fresh], places[fresh])


def _trades(rows: _Rows, ticks: TickArray, places: NDArray[np.intp]) -> None:
    if ticks["flags"].any():
        priced = ticks["flags"] == 0
        ticks, places = ticks[priced], places[priced]
    ticks, places = _not_before(rows, "last_ns", ticks, places)
    rows["last_usd"][places], rows["last_ns"][places] = ticks["price"], ticks["event_ns"]
    rows["last_id"][places], rows["known"][places] = ticks["trade_id"], True


def _statuses(rows: _Rows, ticks: TickArray, places: NDArray[np.intp]) -> bool:
    """One after the other: they are few, and a halt may begin and end within a frame."""
    ticks, places = _not_before(rows, "status_ns", ticks, places)
    before, resumed_before = rows["flags"].copy(), rows["resumed_ns"].copy()
    for event_ns, flags, place in zip(ticks["event_ns"].tolist(), ticks["flags"].tolist(), places.tolist(), strict=True):
        was_known, old = rows["status_ns"][place] > 0, int(rows["flags"][place])
        # The first that is said of a symbol is a change: from what, the log does not know. "All as usual" may well end a halt.
        if (old & STATUS_HALTED and not flags & STATUS_HALTED) or (not was_known and flags == 0):
            rows["resumed_ns"][place] = event_ns
        rows["flags"][place], rows["status_ns"][place], rows["known"][place] = flags, event_ns, True
    turned = (rows["flags"] != before) | (rows["resumed_ns"] != resumed_before)
    rows["turned"] |= turned
    return bool(turned.any())


def _amend(rows: _Rows, tick: tuple[float, ...], place: int) -> None:
    """A correction or cancel of the last trade. What was before a trade that never was, or may set no price, its bar knows."""
    _, trade_id, price, _, _, kind, flags = tick
    if rows["last_ns"][place] == 0 or rows["last_id"][place] != trade_id:
        return
    if kind == KIND_CORRECTION and flags == 0:
        rows["last_usd"][place] = price
    else:
        rows["last_usd"][place], rows["last_ns"][place], rows["last_id"][place] = 0.0, 0, 0
