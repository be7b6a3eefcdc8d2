"""Recorded ticks on disk, in one order of time over all files: what a replay reads from. Memory does not grow with the recording.

Files are read a piece at a time, sorted in runs and merged (tick_merge.py) into columns in a temporary file, which is mapped into memory
read-only and deleted at once: the space is given back when the process ends, however it ends. Ties keep the order of the files as given,
then of their rows. Called by the recycler and the checker; who trains or tests on a whole file uses market_file.py, which gives the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tandem.adapters.bar_lengths import BarLength
from tandem.adapters.market_pieces import (
    BAR_ROW_DTYPE,
    BARRED,
    ROW_DTYPE,
    SALE_ROW_DTYPE,
    FileKind,
    Names,
    Recording,
    Rows,
    pieces,
    recording,
)
from tandem.adapters.synthetic_twin import Twin
from tandem.adapters.tick_build import Build, TickStore
from tandem.adapters.tick_merge import MERGE_ROWS, Runs
from tandem.domain.errors import BadRecord, BadSetting

_RUN_ROWS = 524_288


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """What is taken of the files, and what is added."""

    symbols: tuple[str, ...] = ()  # (): all
    session_only: bool = False  # nothing outside the regular sessions
    twins: tuple[Twin, ...] = ()
    bar_ns: int = 60_000_000_000  # of the replay: a twin's spread reverts over bars
    run_rows: int = _RUN_ROWS
    merge_rows: int = MERGE_ROWS


def open_store(paths: Sequence[Path], options: StoreOptions | None = None, *, folder: Path | None = None) -> TickStore:
    """Read, sort and map the files. Raises BadSetting if there is none such, BadRecord if one is malformed or nothing is left."""
    options = options or StoreOptions()
    if not paths:
        raise BadSetting("data: give at least one file")
    files = [recording(Path(path)) for path in paths]
    _check_together(files)
    names = Names(wanted=frozenset(options.symbols) or None)
    has_rows_of_bars = any(file.kind in BARRED for file in files)
    has_sales = any(file.has_sales for file in files)  # only files of trades, which do not go together with bars
    runs = Runs(BAR_ROW_DTYPE if has_rows_of_bars else SALE_ROW_DTYPE if has_sales else ROW_DTYPE, folder)
    try:
        lengths = [_read(file, names, runs, options.run_rows) for file in files]
        bar = _bar_of(lengths)
        _check_symbols(files, names, options)
        if runs.rows == 0:
            raise BadRecord("file_empty", f"{files[0].path.name}: no row is left")
        build = Build(
            files,
            names,
            twins=options.twins,
            session_only=options.session_only,
            bar=bar,
            replay_bar_ns=options.bar_ns,
            empty_cells=sum(length.empty_cells for length in lengths),
            folder=folder,
        )
        return build.store(runs, options.merge_rows)
    finally:
        runs.close()


def _check_together(files: Sequence[Recording]) -> None:
    kinds = {file.kind for file in files}
    if FileKind.TRADES in kinds and kinds & set(BARRED):
        raise BadSetting("data: files of trades and files of bars do not go together: a bar would be counted twice")
    if not kinds & {FileKind.TRADES, *BARRED}:
        raise BadSetting(f"data: found only {', '.join(sorted(kinds))}; at least one file of trades, bars or closes is needed")


def _check_symbols(files: Sequence[Recording], names: Names, options: StoreOptions) -> None:
    asked = {*options.symbols, *(twin.base for twin in options.twins)}
    if missing := sorted(asked - set(names.numbers)):
        held = ", ".join(sorted(names.seen))
        raise BadRecord("symbol_missing", f"{files[0].path.name} holds no {', '.join(missing)}; it holds {held}")
    if twice := sorted({twin.name for twin in options.twins} & set(names.numbers)):
        raise BadSetting(f"twin {', '.join(twice)}: the recording holds it already")


def _read(file: Recording, names: Names, runs: Runs, run_rows: int) -> BarLength:
    """All pieces of a file into sorted runs; what was learnt of its bars on the way."""
    length = BarLength(file)
    kept: list[Rows] = []
    count = 0
    for piece in pieces(file, names):
        length.see(piece)
        kept.append(piece.rows)
        count += len(piece.rows)
        if count >= run_rows:
            runs.add(_run(kept), length.finish)
            kept, count = [], 0
    if kept:
        runs.add(_run(kept), length.finish)
    length.settle()
    return length


def _run(parts: Sequence[Rows]) -> Rows:
    rows = np.concatenate(parts)
    return rows[np.argsort(rows["tick"]["event_ns"], kind="stable")]


def _bar_of(lengths: Sequence[BarLength]) -> str | None:
    found = {length.bar for length in lengths if length.bar is not None}
    if len(found) > 1:
        raise BadSetting(f"data: files of bars of {', '.join(sorted(found))} do not go together: give files of one length")
    return found.pop() if found else None
