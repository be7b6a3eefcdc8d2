"""Trades that the tape prints wrongly and takes back or puts right, and such as set no price: what becomes of a frame of the market's.

The wrong print and the message that mends it are in one frame, so that nothing can come between them, and the recording, by which the
exchange fills, knows of neither: a client that heeds corrections, cancels and sale conditions does what it does without. Called by
faults_stream.py.
"""

from collections.abc import Iterator
from typing import Any

from tandem.domain.conditions import TABLES, Sale

Row = dict[str, Any]
_OFF = 1.03  # times the right price: believable, and far enough to be traded on
_FRESH = 2_000_000_000  # above the ids of a recording
_UNPRICED_FRESH = 3_000_000_000  # above those, too
_UNKNOWN_CODE = "?"  # of no tape
_EXCHANGE = "V"  # IEX; Alpaca's client refuses these messages without one


def misprinted(rows: list[Row], *, never_was: bool) -> list[Row]:
    """The frame's messages with a print among them that never was, or with one at a wrong price, and last what mends it.

    As they are where the frame holds no trade.
    """
    places = [place for place, row in enumerate(rows) if row.get("T") == "t"]
    if not places:
        return rows
    place = places[len(places) // 2]
    return _bust(rows, place) if never_was else _misprint(rows, place)


def with_unpriced(rows: list[Row]) -> list[Row]:
    """The frame's messages, and after each trade one far from its price whose conditions let it set none."""
    return [row for one in rows for row in ((one, *_unpriced(one)) if one.get("T") == "t" else (one,))]


def _unpriced(row: Row) -> Iterator[Row]:
    """By every code that sets no price on the trade's tape in turn, trade by trade; where no tape is named, on any."""
    tables = [TABLES[row["z"]]] if row.get("z") in TABLES else TABLES.values()
    codes = sorted({code for table in tables for code, sale in table.items() if sale is not Sale.PRICED} | {_UNKNOWN_CODE})
    yield row | {"i": row["i"] + _UNPRICED_FRESH, "p": _wrong(row), "c": ["@", codes[row["i"] % len(codes)]]}


def _bust(rows: list[Row], place: int) -> list[Row]:
    """A trade that never was, cancelled."""
    never = rows[place] | {"i": rows[place]["i"] + _FRESH, "p": _wrong(rows[place])}
    cancel = {name: never[name] for name in ("S", "i", "p", "s", "t")} | {"T": "x", "x": _EXCHANGE, "a": "C", "z": never.get("z", "")}
    return [*rows[: place + 1], never, *rows[place + 1 :], cancel]


def _misprint(rows: list[Row], place: int) -> list[Row]:
    """A trade at a wrong price, corrected."""
    right = rows[place]
    wrong = right | {"p": _wrong(right)}
    codes = right.get("c", [])
    before = {"oi": right["i"], "op": wrong["p"], "os": right["s"], "oc": codes}
    after = {"ci": right["i"], "cp": right["p"], "cs": right["s"], "cc": codes}
    correction = {"T": "c", "S": right["S"], "x": _EXCHANGE, "t": right["t"], "z": right.get("z", ""), **before, **after}
    return [*rows[:place], wrong, *rows[place + 1 :], correction]


def _wrong(row: Row) -> float:
    return round(float(row["p"]) * _OFF, 4)
