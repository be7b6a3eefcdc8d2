"""The kinds of fault that the recycler does on the wire (recycler/faults.py): answers and frames that are not what happened."""

from typing import Any

from chaos.faults import Begin, Way
from chaos.schedule import Fault, FaultKind
from chaos.stage import Stage

_MARKET, _UPDATES, _REST = ("market",), ("updates",), ("rest",)


def _armed(**fields: Any) -> Begin:
    def begin(stage: Stage, fault: Fault) -> None:
        stage.ask_recycler("POST", "/tandem/faults", {**fields, "count": fault.amount}).raise_for_status()

    return begin


def _rest(name: str, rest: str, number: int, amount: tuple[int, int], *, neutral: bool = True, **fields: Any) -> Way:
    kind = FaultKind(name=name, number=number, targets=_REST, amount=amount, neutral=neutral)
    return Way(kind, _armed(rest=rest, **fields))


def _market(name: str, stream: str, number: int, amount: tuple[int, int], *, neutral: bool = True, **fields: Any) -> Way:
    kind = FaultKind(name=name, number=number, targets=_MARKET, amount=amount, neutral=neutral)
    return Way(kind, _armed(stream=stream, socket="market", **fields))


def _updates(name: str, stream: str, amount: tuple[int, int], *, neutral: bool = True, **fields: Any) -> Way:
    kind = FaultKind(name=name, number=14, targets=_UPDATES, amount=amount, neutral=neutral)
    return Way(kind, _armed(stream=stream, socket="updates", **fields))


_EVERYTHING = {"method": "*", "path": "/v2/"}
WIRE_WAYS: tuple[Way, ...] = (
    _rest("order_done_504", "lost_504", 12, (1, 4)),
    _rest("order_done_torn", "torn", 12, (1, 4)),
    _rest("order_done_502", "lost_502", 12, (1, 3)),
    _rest("order_done_garbled", "garbled", 12, (1, 3)),
    _rest("order_done_empty", "empty", 12, (1, 3)),
    _rest("order_refused_502", "refused_502", 12, (1, 3), neutral=False),
    _rest("order_error_500", "error_500", 12, (1, 3), neutral=False),
    _rest("order_hangs", "hang", 12, (1, 1), neutral=False, seconds=3.0),
    _rest("update_before_reply", "slow", 14, (1, 4), seconds=0.3),
    _rest("too_many_requests", "limited", 13, (2, 10), neutral=False, **_EVERYTHING),
    _rest("everything_502", "refused_502", 12, (2, 6), neutral=False, **_EVERYTHING),
    _rest("everything_empty", "empty", 12, (1, 2), neutral=False, **_EVERYTHING),
    _market("ticks_twice", "duplicate", 3, (1, 8)),
    _market("ticks_shuffled", "shuffle", 3, (1, 8)),
    _market("ticks_swapped", "swap", 3, (1, 4)),
    _market("ticks_late", "late", 3, (1, 2), seconds=0.5),
    _market("trade_cancelled", "bust", 4, (1, 8)),
    _market("trade_corrected", "misprint", 4, (1, 8)),
    _market("trades_unpriced", "unpriced", 4, (1, 8)),
    _market("unknown_messages", "unknown", 6, (1, 8)),
    _market("bad_values", "bad_values", 18, (1, 5)),
    _market("garbled_frame", "garbled", 6, (1, 3)),
    _market("truncated_frame", "truncated", 6, (1, 3)),
    _market("oversized_frame", "oversized", 6, (1, 2)),
    _market("market_closed", "close", 1, (1, 2)),
    _market("error_405", "error", 5, (1, 1), code=405),
    _market("error_406", "error", 5, (1, 1), code=406),
    _market("error_407", "error", 5, (1, 1), code=407),
    _updates("updates_dropped", "drop", (1, 4), neutral=False),
    _updates("updates_twice", "duplicate", (1, 6)),
    _updates("updates_swapped", "swap", (1, 3)),
    _updates("updates_late", "late", (1, 2), seconds=0.5),
    _updates("updates_unknown", "unknown", (1, 4)),
    _updates("updates_bad_values", "bad_values", (1, 2), neutral=False),
    _updates("updates_garbled", "garbled", (1, 2)),
    _updates("updates_truncated", "truncated", (1, 2)),
    _updates("updates_oversized", "oversized", (1, 2)),
    _updates("updates_closed", "close", (1, 2)),
)
