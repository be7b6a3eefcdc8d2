"""How long the bars of a file are, learnt while it is read piece by piece, and with it when each bar ends.

The smallest distance between two bars of a symbol, as market_file.py has it for a file in memory. It is exact for files in which the rows
of each symbol stand in order of time. Called by adapters/tick_store.py.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tandem.adapters.calendar import session_grid
from tandem.adapters.market_file import BAR_LENGTHS_NS
from tandem.adapters.market_pieces import FileKind, Piece, Recording, Rows
from tandem.domain.errors import BadRecord
from tandem.domain.units import NS_PER_MS, NS_PER_S

_DAY_NS = BAR_LENGTHS_NS["1d"]
_DAYLIGHT_SAVING_NS = 3_600 * NS_PER_S  # the day on which clocks go forward has 23 hours


class BarLength:
    """Of one file; of a file of trades or quotes it knows nothing, and changes nothing."""

    def __init__(self, file: Recording) -> None:
        self.bar: str | None = "1d" if file.kind in {FileKind.CLOSES, FileKind.WIDE} or file.timed == "date" else None
        self.empty_cells = 0
        self._file = file
        self._is_open = file.kind is FileKind.BARS and self.bar is None  # rows carry the start of their bar until the length is known
        self._last_ns: dict[int, int] = {}
        self._gap_ns: int | None = None
        self._gap_row = 0

    def see(self, piece: Piece) -> None:
        """Look at the next rows of the file."""
        if self._file.kind is FileKind.WIDE:
            self.empty_cells += piece.count * (len(self._file.columns) - 1) - len(piece.rows)
        if not self._is_open or len(piece.rows) == 0:
            return
        symbol, start_ns = piece.rows["tick"]["symbol"].astype(np.int64), piece.rows["bar"]["start_ns"].astype(np.int64)
        order = np.lexsort((start_ns, symbol))
        symbol, start_ns, row = symbol[order], start_ns[order], piece.rows["row"][order]
        is_first = np.concatenate(([True], symbol[1:] != symbol[:-1]))
        before_ns = np.concatenate(([0], start_ns[:-1]))
        before_ns[is_first] = [self._last_ns.get(number, -1) for number in symbol[is_first].tolist()]
        gaps = np.where(before_ns >= 0, np.abs(start_ns - before_ns), 0)
        is_last = np.concatenate((is_first[1:], [True]))
        self._last_ns |= dict(zip(symbol[is_last].tolist(), start_ns[is_last].tolist(), strict=True))
        if np.any(gaps > 0):
            place = int(np.flatnonzero(gaps > 0)[gaps[gaps > 0].argmin()])
            if self._gap_ns is None or gaps[place] < self._gap_ns:
                self._gap_ns, self._gap_row = int(gaps[place]), int(row[place])

    def settle(self) -> None:
        """The file has been read. Raises BadRecord if its length cannot be told or is none of those known."""
        if not self._is_open:
            return
        if self._gap_ns is None:
            raise BadRecord(
                "bar_length", f"{self._file.path.name}, column ts: no symbol has two bars, so the length of a bar cannot be told"
            )
        if self._gap_ns in (_DAY_NS, _DAY_NS - _DAYLIGHT_SAVING_NS):
            self.bar = "1d"
            return
        names = [name for name, length_ns in BAR_LENGTHS_NS.items() if length_ns == self._gap_ns]
        if not names:
            place = f"{self._file.path.name}, row {self._gap_row + 1}, column ts"
            allowed = ", ".join(BAR_LENGTHS_NS)
            raise BadRecord("bar_length", f"{place}: {self._gap_ns / NS_PER_S:g} s from another bar of its symbol; allowed are {allowed}")
        self.bar = names[0]

    def finish(self, rows: Rows) -> None:
        """Give rows of this file the time at which their bars end, less a millisecond."""
        if not self._is_open:
            return
        assert self.bar is not None, "settle first"
        starts_ns = rows["bar"]["start_ns"]
        if self.bar != "1d":
            rows["tick"]["event_ns"] = starts_ns + BAR_LENGTHS_NS[self.bar] - NS_PER_MS
        else:
            rows["tick"]["event_ns"] = self._session_closes(rows, starts_ns) - NS_PER_MS

    def _session_closes(self, rows: Rows, starts_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        local = pd.DatetimeIndex(np.ascontiguousarray(starts_ns), tz="UTC").tz_convert("America/New_York").tz_localize(None).normalize()
        days_ns = local.to_numpy(dtype="datetime64[ns]").astype(np.int64)
        grid = session_grid("1d", int(days_ns.min()), int(days_ns.max()) + _DAY_NS)
        session_days = grid.open_ns - grid.open_ns % _DAY_NS
        place = np.minimum(np.searchsorted(session_days, days_ns), len(session_days) - 1)
        wrong = session_days[place] != days_ns
        if wrong.any():
            row = int(wrong.argmax())
            found = pd.Timestamp(int(starts_ns[row]), tz="UTC")
            allowed = "a session of the New York Stock Exchange"
            raise BadRecord(
                "value_refused",
                f"{self._file.path.name}, row {int(rows['row'][row]) + 1}, column ts: found {found}, allowed is {allowed}",
            )
        return grid.close_ns[place]
