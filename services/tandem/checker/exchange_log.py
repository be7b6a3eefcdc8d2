"""Reads the exchange's log, `exchange.jsonl`: the lines of one replay. A torn last line is what a kill leaves; any other one is a fault."""

from pathlib import Path

import orjson

from tandem.checker.evidence import ExchangeLine, ExchangeLog
from tandem.domain.errors import Permanent


def read_exchange_log(path: Path, replay_id: str = "") -> ExchangeLog:
    """The log of one replay; of the newest one when none is named. Raises Permanent if there is no such file."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise Permanent(f"the exchange's log {path} cannot be read: {error.strerror}") from error
    lines: list[ExchangeLine] = []
    unreadable: list[str] = []
    for number, row in enumerate(text.splitlines(keepends=True), start=1):
        try:
            lines.append(_line(row))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            if row.endswith(b"\n"):
                unreadable.append(f"{path.name}:{number}: {error!r}")
    wanted = replay_id or (lines[-1].replay_id if lines else "")
    return ExchangeLog(lines=tuple(line for line in lines if line.replay_id == wanted), unreadable=tuple(unreadable))


def _line(row: bytes) -> ExchangeLine:
    fields = orjson.loads(row)
    return ExchangeLine(
        seq=int(fields["seq"]),
        replay_id=str(fields["replay_id"]),
        event_ns=int(fields["event_ns"]),
        kind=str(fields["kind"]),
        fields=fields,
    )
