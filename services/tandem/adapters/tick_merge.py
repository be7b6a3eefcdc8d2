"""Sorting by time what does not fit into memory: sorted runs in one file on disk, and the merge of them, a block at a time.

Stable: rows of one time come out in the order in which they went in. Knows nothing of markets but the place of the time in a row.
Called by adapters/tick_store.py.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.void]
# Rows in memory while runs are merged, over all of them. One run needs at least a block, below which reading is all seeking.
MERGE_ROWS = 524_288
_BLOCK_ROWS_MIN = 256


@dataclass(slots=True, eq=False)
class _Run:
    """A sorted stretch of the file, and its rows that are in memory."""

    number: int
    next_row: int  # in the file, not read yet
    stop: int
    finish: Callable[[Rows], None] | None
    rows: Rows | None = None

    @property
    def first_ns(self) -> int:
        assert self.rows is not None
        return int(self.rows["tick"]["event_ns"][0])

    @property
    def last_ns(self) -> int:
        assert self.rows is not None
        return int(self.rows["tick"]["event_ns"][-1])


class Runs:
    """Sorted runs of one dtype, added in the order that ties keep."""

    def __init__(self, dtype: np.dtype[Any], folder: Path | None = None) -> None:
        self._dtype = dtype
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder, prefix="tandem-runs-")  # noqa: SIM115  (closed by close)
        self._runs: list[tuple[int, int, Callable[[Rows], None] | None]] = []
        self.rows = 0
        self.last_ns = 0  # the highest time before it is finished

    def add(self, rows: Rows, finish: Callable[[Rows], None] | None = None) -> None:
        """One run, sorted. finish: changes rows in place when they are read, without changing their order."""
        if len(rows) == 0:
            return
        if rows.dtype != self._dtype:
            whole = np.zeros(len(rows), self._dtype)
            whole["tick"] = rows["tick"]
            rows = whole
        self.last_ns = max(self.last_ns, int(rows["tick"]["event_ns"][-1]))
        self._file.write(np.ascontiguousarray(rows).tobytes())
        self._runs.append((self.rows, self.rows + len(rows), finish))
        self.rows += len(rows)

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()

    def merged(self, rows_max: int = MERGE_ROWS) -> Iterator[Rows]:
        """All rows in order of time. Rows of one time are always in one block."""
        self._file.flush()
        block = max(rows_max // max(len(self._runs), 1), _BLOCK_ROWS_MIN)
        heads: list[tuple[int, int]] = []
        runs = [_Run(number, start, stop, finish) for number, (start, stop, finish) in enumerate(self._runs)]
        waiting: list[_Run] = []
        for run in runs:
            self._load(run, block)
            heads.append((run.first_ns, run.number))
        heapify(heads)
        while heads:
            cut_ns = self._cut_ns(heads, runs)
            taken: list[tuple[int, Rows]] = []
            waiting.clear()
            while heads and heads[0][0] <= cut_ns:
                run = runs[heappop(heads)[1]]
                waiting.append(run)
                taken.append((run.number, self._take(run, cut_ns, block)))
            for run in waiting:
                if run.rows is not None:
                    heappush(heads, (run.first_ns, run.number))
            yield _joined(taken)

    def _cut_ns(self, heads: list[tuple[int, int]], runs: list[_Run]) -> int:
        """Up to here every run has been read: the earliest last time in memory, of those that begin before it."""
        cut_ns = runs[heads[0][1]].last_ns
        stack = [0]
        while stack:  # the heap from its top, down to those who begin after the cut
            place = stack.pop()
            if place < len(heads) and heads[place][0] <= cut_ns:
                cut_ns = min(cut_ns, runs[heads[place][1]].last_ns)
                stack += [2 * place + 1, 2 * place + 2]
        return cut_ns

    def _take(self, run: _Run, cut_ns: int, block: int) -> Rows:
        """The run's rows up to a time, and all of that time; then read on."""
        parts = []
        while run.rows is not None:
            count = int(np.searchsorted(np.ascontiguousarray(run.rows["tick"]["event_ns"]), cut_ns, side="right"))
            parts.append(run.rows[:count])
            if count < len(run.rows):
                run.rows = run.rows[count:]
                break
            self._load(run, block)
            if run.rows is not None and run.first_ns > cut_ns:
                break
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _load(self, run: _Run, block: int) -> None:
        count = min(block, run.stop - run.next_row)
        if count == 0:
            run.rows = None
            return
        self._file.seek(run.next_row * self._dtype.itemsize)
        run.rows = np.frombuffer(bytearray(self._file.read(count * self._dtype.itemsize)), self._dtype)
        run.next_row += count
        if run.finish is not None:
            run.finish(run.rows)


def _joined(taken: list[tuple[int, Rows]]) -> Rows:
    if len(taken) == 1:
        return taken[0][1]
    rows = np.concatenate([part for _, part in sorted(taken, key=lambda item: item[0])])
    return rows[np.argsort(rows["tick"]["event_ns"], kind="stable")]
