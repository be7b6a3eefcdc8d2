"""Columns of numbers in a temporary file, written once from front to back, then read as arrays that the operating system pages in.

The file has no name after its creation, so that its space is free when the process ends. Called by adapters/tick_build.py.
"""

import mmap
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_KEPT_BYTES = 1 << 24  # behind a place that is released: whoever looks back a little finds it still there


class MappedColumns:
    """Some columns of one length."""

    def __init__(self, dtypes: Mapping[str, np.dtype[Any]], folder: Path | None = None) -> None:
        self._dtypes, self._folder = dict(dtypes), folder
        self._files: dict[str, IO[bytes]] = {name: self._made() for name in dtypes}
        self._maps: dict[str, mmap.mmap] = {}
        self._released_to = dict.fromkeys(dtypes, 0)  # bytes; columns that are read from front to back
        self.count = 0

    def append(self, values: Mapping[str, NDArray[Any]]) -> None:
        """The next rows, of every column the same number."""
        counts = {len(column) for column in values.values()}
        assert set(values) == set(self._dtypes), "all columns or none"
        assert len(counts) == 1, "columns of one length"
        for name, column in values.items():
            self._files[name].write(np.ascontiguousarray(column, self._dtypes[name]).tobytes())
        self.count += counts.pop()

    def patch(self, name: str, place: int, value: NDArray[Any]) -> None:
        """Change one row of a column, before or after it is mapped."""
        file = self._files[name]
        file.seek(place * self._dtypes[name].itemsize)
        file.write(np.asarray(value, self._dtypes[name]).tobytes())
        file.flush()

    def array(self, name: str) -> NDArray[Any]:
        """A column, read-only. No rows can be appended from here on."""
        file = self._files[name]
        file.flush()
        if file.seek(0, 2) == 0:
            return np.empty(0, self._dtypes[name])
        if name not in self._maps:
            self._maps[name] = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        return np.frombuffer(self._maps[name], self._dtypes[name])

    def scattered(self, name: str, dtype: "np.dtype[Any]", count: int) -> "Scattered":
        """A further column, of its own length, whose rows are written in any order before it is read."""
        self._dtypes[name] = dtype
        self._files[name] = self._made()
        return Scattered(self._files[name], dtype, count)

    def seal(self) -> None:
        """Nothing is written any more. Arrays stay: their mappings hold the files."""
        for file in self._files.values():
            file.close()

    def release(self, place: int) -> None:
        """Let go of the pages before a place, in the columns that are read from front to back. They come back when they are read."""
        for name, before in self._released_to.items():
            end = max(place * self._dtypes[name].itemsize - _KEPT_BYTES, 0) // mmap.PAGESIZE * mmap.PAGESIZE
            if end < before:
                self._released_to[name] = 0  # a new pass
            elif end - before >= _KEPT_BYTES and name in self._maps:
                self._maps[name].madvise(mmap.MADV_DONTNEED, 0, end)
                self._released_to[name] = end

    def _made(self) -> IO[bytes]:
        return tempfile.TemporaryFile(dir=self._folder, prefix="tandem-ticks-")


class Scattered:
    """Rows of a file that are written in any order."""

    def __init__(self, file: IO[bytes], dtype: "np.dtype[Any]", count: int) -> None:
        self._file, self._dtype = file, dtype
        file.truncate(count * dtype.itemsize)

    def put(self, place: int, values: NDArray[Any]) -> None:
        """Some rows from a place on."""
        self._file.seek(place * self._dtype.itemsize)
        self._file.write(np.ascontiguousarray(values, self._dtype).tobytes())
