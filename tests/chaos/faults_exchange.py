"""The kinds of fault that are the exchange's and the broker's own: halts, refusals, borrow lists, corporate actions, foreign trades.

By the recycler's directives (docs/exchange.md). What they lead to is for the portfolio to decide, so that none of them is neutral: the
checker looks at books, states and halts instead.
"""

import inspect
from collections.abc import Callable
from typing import Any

from chaos.faults import Begin, Way
from chaos.play import End
from chaos.schedule import Fault, FaultKind
from chaos.stage import Stage
from tandem.recycler.cli import recycler as recycler_command

_PATH = "/tandem/exchange/directives"
Document = dict[str, Any]


def _symbol(stage: Stage, fault: Fault) -> str:
    """The leg that the fault's amount means."""
    return stage.plan.symbols[fault.amount % len(stage.plan.symbols)]


def _tell(stage: Stage, document: Document) -> None:
    stage.ask_recycler("POST", _PATH, document).raise_for_status()


def _once(make: Callable[[Stage, Fault], Document]) -> Begin:
    return lambda stage, fault: _tell(stage, make(stage, fault))


def _for_a_while(make: Callable[[str], Document], undo: Callable[[str], Document]) -> Begin:
    def begin(stage: Stage, fault: Fault) -> End:
        symbol = _symbol(stage, fault)
        _tell(stage, make(symbol))
        return lambda: _tell(stage, undo(symbol))

    return begin


def _kind(name: str, number: int, begin: Begin, lasts_ms: tuple[int, int] = (0, 0)) -> Way:
    return Way(FaultKind(name=name, number=number, targets=("exchange",), lasts_ms=lasts_ms, amount=(0, 999), neutral=False), begin)


_WHILE_MS = (100, 700)  # some bars of a fast replay
_ALL: tuple[Way, ...] = (
    _kind("halt_leg", 17, _for_a_while(lambda s: {"halt": {"symbol": s}}, lambda s: {"resume": {"symbol": s}}), _WHILE_MS),
    _kind("halt_market", 17, _for_a_while(lambda _: {"halt": {}}, lambda _: {"resume": {}}), _WHILE_MS),
    _kind(
        "narrow_band",
        17,
        _for_a_while(
            lambda s: {"band": {"symbol": s, "low_usd": "0.01", "high_usd": "0.02"}},
            lambda s: {"band": {"symbol": s, "low_usd": None, "high_usd": None}},
        ),
        _WHILE_MS,
    ),
    _kind(
        "short_restriction",
        17,
        _for_a_while(
            lambda s: {"short_restriction": {"symbol": s, "restricted": True}},
            lambda s: {"short_restriction": {"symbol": s, "restricted": False}},
        ),
        _WHILE_MS,
    ),
    _kind("reject_next", 15, _once(lambda stage, f: {"reject_next": {"symbol": _symbol(stage, f), "count": 1 + f.amount % 3}})),
    _kind("reject_late", 15, _once(lambda stage, f: {"reject_next": {"symbol": _symbol(stage, f), "late": True}})),
    _kind(
        "hard_to_borrow",
        15,
        _for_a_while(
            lambda s: {"asset": {"symbol": s, "easy_to_borrow": False, "shortable": False}},
            lambda s: {"asset": {"symbol": s, "easy_to_borrow": True, "shortable": True}},
        ),
        _WHILE_MS,
    ),
    _kind(
        "not_tradable",
        15,
        _for_a_while(lambda s: {"asset": {"symbol": s, "tradable": False}}, lambda s: {"asset": {"symbol": s, "tradable": True}}),
        _WHILE_MS,
    ),
    _kind("power_cut", 15, _for_a_while(lambda _: {"power_cut": {"usd": "5000"}}, lambda _: {"power_cut": {"usd": None}}), _WHILE_MS),
    _kind("cancel_race", 16, _once(lambda stage, f: {"race": {"symbol": _symbol(stage, f)}})),
    _kind("split", 19, _once(lambda stage, f: {"split": {"symbol": _symbol(stage, f), "new_shares": 2, "old_shares": 1}})),
    _kind("dividend", 19, _once(lambda stage, f: {"dividend": {"symbol": _symbol(stage, f), "usd_per_share": "0.37"}})),
    _kind("manual_trade", 21, _once(lambda stage, f: {"manual_trade": {"symbol": _symbol(stage, f), "side": "sell", "qty": "7"}})),
    _kind("liquidation", 21, _once(lambda stage, f: {"liquidation": {"symbol": _symbol(stage, f)}})),
)
# A recycler of before has no directives.
EXCHANGE_WAYS: tuple[Way, ...] = _ALL if "script" in inspect.signature(recycler_command).parameters else ()
