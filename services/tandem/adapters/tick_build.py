"""From merged rows to the columns of a TickStore: numbers, sessions, twins, states, and where each symbol's ticks are.

One pass over the rows, a second over the symbols only, for places. Called by adapters/tick_store.py.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tandem.adapters.calendar import session_grid
from tandem.adapters.mapped_columns import MappedColumns
from tandem.adapters.market_file import BAR_DTYPE, MarketData
from tandem.adapters.market_pieces import BARRED, COUNTED, HAPPENINGS, FileKind, Happening, Names, Recording, Rows
from tandem.adapters.synthetic_twin import Twin, Twins
from tandem.adapters.tick_merge import Runs
from tandem.domain.errors import BadRecord
from tandem.domain.ids import Symbol
from tandem.domain.market import (
    KIND_ASK,
    KIND_BID,
    KIND_CANCEL,
    KIND_CORRECTION,
    KIND_STATUS,
    KIND_TRADE,
    STATUS_HALTED,
    STATUS_SHORT_RESTRICTED,
    TICK_DTYPE,
    SessionGrid,
)
from tandem.domain.units import NS_PER_S

_AHEAD_NS = 2 * 86_400 * NS_PER_S  # of the last start of a bar: the grid must cover its end
_SCAN_ROWS = 262_144
_Longs = NDArray[np.int64]
# What a happening does to the state of its symbol: the bits that it sets, and those that it takes away.
_STATES = {
    Happening.HALT: (STATUS_HALTED, 0),
    Happening.RESUME: (0, STATUS_HALTED),
    Happening.SHORT_RESTRICTION: (STATUS_SHORT_RESTRICTED, 0),
    Happening.SHORT_RESTRICTION_END: (0, STATUS_SHORT_RESTRICTED),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """A correction or a cancel, and the trade that it concerns."""

    place: int  # of the correction
    trade: int  # place of the trade
    cancels: bool
    price: float
    size: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TickStore:
    """The recording. Arrays are read-only views of mapped files, (n,) in the order of `data.ticks` unless said otherwise."""

    data: MarketData
    event_ns: _Longs
    price: NDArray[np.float64]
    symbol: NDArray[np.uint16]
    trades: Mapping[Symbol, _Longs]  # places of each symbol's trades, ascending
    priced: Mapping[Symbol, _Longs]  # of those that may set prices (domain/conditions.py)
    sale: NDArray[np.uint16] | None  # number of each row's sale conditions in `sales`; None where no file says any
    sales: tuple[tuple[str, str], ...]  # tape, and codes as a text
    quotes: Mapping[Symbol, _Longs]  # places of each symbol's bids; the ask is the next row
    events: _Longs  # places of everything else; in memory
    fixes: tuple[Fix, ...]  # in the order of their own places
    reasons: tuple[str, ...]  # the trade_id of a status row counts in it
    synthetic: Mapping[Symbol, Symbol]  # made up, and from which
    files: tuple[str, ...]
    columns: MappedColumns

    def sale_at(self, place: int) -> tuple[str, str]:
        """Tape, and codes as a text, of the trade at a place; empty where the recording does not say."""
        return ("", "") if self.sale is None else self.sales[int(self.sale[place])]

    def release(self, place: int) -> None:
        """Ticks before this place are not needed for now: their pages count no more as memory of this process."""
        self.columns.release(place)


class Build:
    """One recording on its way to disk."""

    def __init__(
        self,
        files: Sequence[Recording],
        names: Names,
        *,
        twins: Sequence[Twin],
        session_only: bool,
        bar: str | None,
        replay_bar_ns: int,
        empty_cells: int,
        folder: Path | None,
    ) -> None:
        self._files, self._names, self._twins, self._bar = files, names, twins, bar
        self._session_only, self._replay_bar_ns, self._empty_cells = session_only, replay_bar_ns, empty_cells
        numbered = [*names.numbers, *(twin.name for twin in twins)]
        self._symbols = tuple(sorted(numbered))
        self._table = np.array([self._symbols.index(name) for name in numbered], np.uint16)  # number in the rows -> number in ticks
        self._has_rows_of_bars = any(file.kind in BARRED for file in files)
        has_bars = any(file.kind is FileKind.BARS for file in files)
        bars = {"bars": BAR_DTYPE} if has_bars else {}
        dtypes = {"ticks": TICK_DTYPE, "event_ns": np.dtype("<i8"), "price": np.dtype("<f8"), "symbol": np.dtype("<u2"), **bars}
        self._has_sales = any(file.has_sales for file in files)
        self._columns = MappedColumns({**dtypes, **({"sale": np.dtype("<u2")} if self._has_sales else {})}, folder)
        self._has_bars = has_bars
        self._counted, self._trades, self._priced, self._quotes = (np.zeros(len(numbered), np.int64) for _ in range(4))  # so far, each's
        self._flags = np.zeros(len(numbered), np.uint8)
        self._events: list[_Longs] = []

    def store(self, runs: Runs, rows_max: int) -> TickStore:
        """All rows. Raises BadRecord for a bar that is there twice, or a correction of no trade, or if nothing is left."""
        try:
            self._write(runs, rows_max)
            return self._mapped()
        finally:
            self._columns.seal()

    def _write(self, runs: Runs, rows_max: int) -> None:
        grid: SessionGrid | None = None
        twins: Twins | None = None
        for block in runs.merged(rows_max):
            rows = block
            if self._has_rows_of_bars:
                self._refuse_twice(rows)
            self._number(rows["tick"])
            if grid is None and (self._session_only or self._twins):
                grid = session_grid("1d", int(rows["tick"]["event_ns"][0]), runs.last_ns + _AHEAD_NS)
                twins = Twins(self._twins, self._names.numbers, grid, self._replay_bar_ns)
            if grid is not None and self._session_only:
                rows = _inside(rows, grid)
            self._append(rows if twins is None else twins.added(rows))
        if self._columns.count == 0:
            raise BadRecord("file_empty", f"{self._files[0].path.name}: no row lies within a session")

    def _refuse_twice(self, rows: Rows) -> None:
        """A symbol has one bar, or close, at a time."""
        own = rows[rows["tick"]["kind"] == KIND_TRADE]
        event_ns, symbol = own["tick"]["event_ns"], own["tick"]["symbol"]
        order = np.lexsort((own["row"], symbol, event_ns))
        twice = (np.diff(event_ns[order]) == 0) & (np.diff(symbol[order].astype(np.int64)) == 0)
        if twice.any():
            row = order[1:][twice][0]
            file = next(file for file in self._files if file.kind in BARRED)
            column = file.timed
            each = f"symbol and {column}" if file.kind is not FileKind.WIDE else column
            place = f"{file.path.name}, row {int(own['row'][row]) + 1}, column {column}"
            raise BadRecord("value_refused", f"{place}: found one more, allowed is one row for each {each}")

    def _number(self, ticks: NDArray[np.void]) -> None:
        """Ids of trades whose file has none: counted in order of time, over the whole recording whatever is taken of it."""
        own = np.flatnonzero((ticks["kind"] == KIND_TRADE) & (ticks["trade_id"] == COUNTED))
        ticks["trade_id"][own] = _counted(ticks["symbol"][own], self._counted)

    def _append(self, rows: Rows) -> None:
        ticks = rows["tick"].copy()
        ticks["symbol"] = self._table[ticks["symbol"]]
        kind = ticks["kind"]
        is_trade = kind == KIND_TRADE
        self._trades += np.bincount(ticks["symbol"][is_trade], minlength=len(self._trades))
        self._priced += np.bincount(ticks["symbol"][is_trade & (ticks["flags"] == 0)], minlength=len(self._priced))
        self._quotes += np.bincount(ticks["symbol"][kind == KIND_BID], minlength=len(self._quotes))
        others = np.flatnonzero(~(is_trade | (kind == KIND_BID) | (kind == KIND_ASK)))
        self._events.append(others + self._columns.count)
        for place in others[kind[others] == KIND_STATUS].tolist():
            self._settle(ticks[place : place + 1])
        values = {name: ticks[name] for name in ("event_ns", "price", "symbol")}
        more = {**({"bars": rows["bar"]} if self._has_bars else {}), **({"sale": rows["sale"]} if self._has_sales else {})}
        self._columns.append({"ticks": ticks, **values, **more})

    def _settle(self, tick: Rows) -> None:
        """From what happened to the symbol's state."""
        number = int(tick["symbol"][0])
        added, removed = _STATES[HAPPENINGS[int(tick["flags"][0])]]
        self._flags[number] = (int(self._flags[number]) | added) & ~removed
        tick["flags"] = self._flags[number]

    def _mapped(self) -> TickStore:
        event_ns, symbol = self._columns.array("event_ns"), self._columns.array("symbol")
        ticks = self._columns.array("ticks")
        trades, priced, quotes = self._places(ticks)
        events = np.concatenate(self._events)
        fixes = tuple(
            self._fix(ticks, trades, place) for place in events.tolist() if ticks["kind"][place] in (KIND_CORRECTION, KIND_CANCEL)
        )
        data = MarketData(
            path=self._files[0].path,
            digest=self._digest(),
            symbols=tuple(map(Symbol, self._symbols)),
            ticks=ticks,
            bar=self._bar,
            bars=self._columns.array("bars") if self._has_bars else None,
            ignored=tuple(name for file in self._files for name in file.ignored),
            empty_cells=self._empty_cells,
        )
        return TickStore(
            data=data,
            event_ns=event_ns,
            price=self._columns.array("price"),
            symbol=symbol,
            trades=trades,
            priced=priced,
            sale=self._columns.array("sale") if self._has_sales else None,
            sales=tuple(self._names.sales),
            quotes=quotes,
            events=events,
            fixes=tuple(fix for fix in fixes if fix is not None),
            reasons=tuple(self._names.reasons) or ("",),
            synthetic={twin.name: twin.base for twin in self._twins},
            files=tuple(file.path.name for file in self._files),
            columns=self._columns,
        )

    def _places(self, ticks: NDArray[np.void]) -> tuple[dict[Symbol, _Longs], ...]:
        """Where each symbol's trades, those that may set prices, and quotes are: written symbol by symbol into further columns."""
        kinds = [("trades", KIND_TRADE, self._trades), ("quotes", KIND_BID, self._quotes)]
        if (self._priced < self._trades).any():
            kinds.append(("priced", KIND_TRADE, self._priced))
        starts = {name: np.concatenate(([0], np.cumsum(counts))) for name, _, counts in kinds}
        columns = {name: self._columns.scattered(name, np.dtype("<i8"), int(starts[name][-1])) for name in starts}
        filled = {name: found[:-1].copy() for name, found in starts.items()}
        for start in range(0, len(ticks), _SCAN_ROWS):
            part = ticks[start : start + _SCAN_ROWS]
            for name, kind, _ in kinds:
                for number, places in _by_symbol(part, kind, only_priced=name == "priced"):
                    columns[name].put(int(filled[name][number]), places + start)
                    filled[name][number] += len(places)
            self._columns.release(start)
        found = {name: self._columns.array(name) for name in starts}
        return tuple(
            {Symbol(one): found[name][starts[name][number] : starts[name][number + 1]] for number, one in enumerate(self._symbols)}
            for name in ("trades", "priced" if "priced" in starts else "trades", "quotes")
        )

    def _fix(self, ticks: NDArray[np.void], trades: Mapping[Symbol, _Longs], place: int) -> Fix | None:
        """What a correction or cancel concerns; a cancel's row gets the price and size that were printed. None: a trade left out."""
        row = ticks[place]
        name, trade_id = Symbol(self._symbols[int(row["symbol"])]), int(row["trade_id"])
        own = trades[name][: int(np.searchsorted(trades[name], place))]
        trade = _found(ticks, own, trade_id)
        if trade is None and self._session_only:
            return None
        if trade is None:
            word = Happening.CANCEL if row["kind"] == KIND_CANCEL else Happening.CORRECTION
            raise BadRecord("trade_unknown", f"{word} of {name}: found trade_id {trade_id}, allowed is a trade of {name} before it")
        cancels = bool(row["kind"] == KIND_CANCEL)
        price, size = (ticks[trade] if cancels else row)[["price", "size"]]
        if not cancels and ticks["flags"][trade]:  # a recording corrects price and size, not what the trade may do
            told = ticks[place : place + 1].copy()
            told["flags"] = ticks["flags"][trade]
            self._columns.patch("ticks", place, told)
        if cancels:
            told = ticks[place : place + 1].copy()
            told["price"], told["size"] = price, size
            self._columns.patch("ticks", place, told)
            self._columns.patch("price", place, told["price"])
        return Fix(place=place, trade=trade, cancels=cancels, price=float(price), size=int(size))

    def _digest(self) -> str:
        """Of the bytes of one file that is taken as it is; else also of what else makes the ticks."""
        digests = []
        for file in self._files:
            with file.path.open("rb") as opened:
                digests.append(hashlib.file_digest(opened, "sha256").hexdigest())
        more = [*(sorted(self._names.wanted or ())), *(["session only"] if self._session_only else [])]
        more += [f"{twin.base}={twin.name}/{self._replay_bar_ns}" for twin in self._twins]
        return digests[0] if len(digests) == 1 and not more else hashlib.sha256("\n".join([*digests, *more]).encode()).hexdigest()


def _counted(symbols: NDArray[np.uint16], before: _Longs) -> _Longs:
    """Each row's number among those of its symbol, from 1, going on from `before`, which is moved on."""
    order = np.argsort(symbols, kind="stable")
    counts = np.bincount(symbols, minlength=len(before))
    firsts = np.cumsum(counts) - counts
    numbers = np.empty(len(symbols), np.int64)
    numbers[order] = np.arange(1, len(symbols) + 1) - np.repeat(firsts, counts) + np.repeat(before, counts)
    before += counts
    return numbers


def _by_symbol(ticks: NDArray[np.void], kind: int, *, only_priced: bool) -> Iterator[tuple[int, _Longs]]:
    """Each symbol's number, and the places of its ticks of a kind."""
    own = np.flatnonzero((ticks["kind"] == kind) & ((ticks["flags"] == 0) | (not only_priced)))
    order = np.argsort(ticks["symbol"][own], kind="stable")
    numbers, firsts = np.unique(ticks["symbol"][own][order], return_index=True)
    yield from zip(numbers.tolist(), np.split(own[order], firsts[1:])[: len(numbers)], strict=True)


def _inside(rows: Rows, grid: SessionGrid) -> Rows:
    event_ns = rows["tick"]["event_ns"]
    session = np.searchsorted(grid.open_ns, event_ns, side="right") - 1
    return rows[(session >= 0) & (event_ns < grid.close_ns[np.maximum(session, 0)])]


def _found(ticks: NDArray[np.void], places: _Longs, trade_id: int) -> int | None:
    """The last of these places that has this id, looked for from the end."""
    for stop in range(len(places), 0, -_SCAN_ROWS):
        part = places[max(stop - _SCAN_ROWS, 0) : stop]
        hits = np.flatnonzero(ticks["trade_id"][part] == trade_id)
        if len(hits):
            return int(part[hits[-1]])
    return None
