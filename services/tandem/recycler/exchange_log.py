"""The paper exchange's log: DIR/exchange.jsonl, one JSON object a line, and what a recycler that starts again finds in it.

The form of the lines is in docs/exchange.md. Each line is made by `log_lines.py`; this module numbers, writes, syncs and reads them back.
While an exchange is made anew from its log, each line that it gives is compared with the one that is there instead of written.
"""

import fcntl
import os
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import orjson

from tandem.domain.errors import BadSetting

LOG_FILE = "exchange.jsonl"
Line = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """Where a log ends: the newest pass and the lines after its first."""

    replay_id: str
    number: int  # of the pass
    first: int  # step with which it began
    watermark_ns: int  # last one that was reached, 0 for none
    bars: int  # until then
    participants: tuple[str, ...]  # that were waited for there
    lines: tuple[Line, ...]


class ExchangeLog:
    """An append-only file, locked so that no second recycler writes into it."""

    def __init__(self, folder: Path) -> None:
        """Opens or makes the log; a last line that is torn is cut off. Raises BadSetting for what is no such log."""
        self.path = folder / LOG_FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = _locked(self.path)
            _sync_folder(folder)
        except OSError as error:
            raise BadSetting(f"state-dir {folder}: {error.strerror or error}") from error
        try:
            lines, self._seq, size = _read(self.path)
        except BadSetting:
            os.close(self._file)
            raise
        os.ftruncate(self._file, size)
        self.resumption = _resumption(lines)
        self.expected: deque[Line] = deque()  # lines of before that are still to be made again
        self._waiting: list[bytes] = []

    def begin(self, replay_id: str) -> None:
        """A pass begins; the first one after the start takes up the newest pass of before. Raises BadSetting if it is another replay."""
        if (found := self.resumption) is None:
            return
        if found.replay_id != replay_id:
            raise BadSetting(
                f"{self.path} holds replay {found.replay_id}, the data and options make {replay_id}: "
                "start with those of the log, or with another state-dir"
            )
        self.resumption = None
        self.expected = deque(found.lines)
        self._seq -= len(found.lines)

    def append(self, line: Mapping[str, Any]) -> None:
        """Write a line, or hold it against the log while it is made again. Raises BadSetting where they differ."""
        numbered = {"seq": self._seq, **line}
        self._seq += 1
        if not self.expected:
            self._waiting.append(orjson.dumps(numbered) + b"\n")
            return
        before = self.expected.popleft()
        if before != orjson.loads(orjson.dumps(numbered)):
            raise BadSetting(
                f"{self.path}, line {self._seq}: the log holds {_short(before)}, the data and options give {_short(numbered)}; "
                "start with those of the log, or with another state-dir"
            )

    def strike_out(self) -> None:
        """Take away the lines that are still expected."""
        lines = self.path.read_bytes().splitlines(keepends=True)[: self._seq]
        os.ftruncate(self._file, sum(map(len, lines)))
        self.expected.clear()

    def sync(self) -> None:
        """What was appended is on disk when this returns. The process ends where it cannot be written, e.g. because the disk is full."""
        if self._waiting:
            left = memoryview(b"".join(self._waiting))
            try:
                while left:
                    left = left[os.write(self._file, left) :]
                os.fdatasync(self._file)
            except OSError as error:
                _end(self.path, error)
            self._waiting.clear()

    def close(self) -> None:
        """Sync and let go of the file."""
        self.sync()
        os.close(self._file)


def _end(path: Path, error: OSError) -> NoReturn:
    """Stop here and now. Memory knows of orders that the log does not: whoever asked for one would be told what a restart denies.

    An exception would only end one request, and the next one would be answered from that memory.
    """
    with suppress(OSError):  # the disk may be that of the process's output, too
        print(f"{path}: {error.strerror or error}; the exchange ends, and goes on from its log", file=sys.stderr, flush=True)
    os._exit(os.EX_IOERR)


def _locked(path: Path) -> int:
    file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        raise BadSetting(f"{path} is in use: another recycler writes there") from error
    return file


def _read(path: Path) -> tuple[list[Line], int, int]:
    """The lines of the newest pass, the count of all whole lines and their bytes. Raises BadSetting for a line that is none of ours."""
    newest: list[Line] = []
    number = size = 0
    with path.open("rb") as file:
        for text in file:
            if not text.endswith(b"\n"):  # torn by a kill
                break
            line = _parsed(path, number, text)
            if line["kind"] == "pass":
                newest.clear()
            newest.append(line)
            number, size = number + 1, size + len(text)
    return newest, number, size


def _parsed(path: Path, number: int, text: bytes) -> Line:
    try:
        line = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadSetting(f"{path}, line {number + 1}: no JSON: {error}") from error
    if not isinstance(line, dict) or line.get("seq") != number or "kind" not in line:
        raise BadSetting(f"{path}, line {number + 1}: found {text[:80]!r}, must be an object with kind and seq {number}")
    return line


def _resumption(lines: list[Line]) -> Resumption | None:
    if not lines:
        return None
    first = lines[0]
    marks = [line for line in lines if line["kind"] == "watermark"]
    return Resumption(
        replay_id=first["replay_id"],
        number=first["number"],
        first=first["first"],
        watermark_ns=marks[-1]["event_ns"] if marks else 0,
        bars=marks[-1]["bars"] if marks else 0,
        participants=tuple(marks[-1]["participants"]) if marks else (),
        lines=tuple(lines),
    )


def _sync_folder(folder: Path) -> None:
    """The name of a new file is on disk, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _short(line: Mapping[str, Any]) -> str:
    return orjson.dumps({key: value for key, value in line.items() if key != "replay_id"}).decode()[:300]
