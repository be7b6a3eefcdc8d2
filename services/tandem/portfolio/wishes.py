"""Which pairs want to trade at a bar: the signal of every pair with a forecast, exits and entries apart. Reads the books, changes nothing.

Called by desk.py. `reasons` is what people see of a pair that does not trade.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from tandem.domain.control import PairSpec, RoutingPointer
from tandem.domain.forecasts import Forecast, ModelRef
from tandem.domain.ids import PairId, SectorId
from tandem.domain.trading import Action, PairState, TradingMode
from tandem.flow.barrier import Decidable
from tandem.flow.execution_records import Execution
from tandem.flow.routing import must_flatten
from tandem.flow.signals import Case, Outlook, Reason, decide, effective_mode
from tandem.portfolio.books import Books


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A signal that asks for an action, with all it was made of."""

    spec: PairSpec
    forecast: Forecast
    model: ModelRef
    action: Action
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a bar asks for, each part in order of pair id. quiet: pairs that ask for nothing."""

    closes: tuple[Wish, ...]
    opens: tuple[Wish, ...]
    quiet: tuple[PairId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What is declared: pairs by id, routing by sector, and the name of the account whose trading mode counts."""

    specs: Mapping[PairId, PairSpec]
    pointers: Mapping[SectorId, RoutingPointer]
    account: str


class Outlooks(Protocol):
    """The outlook of a pair, by its newest forecast; held: whether its stop counts."""

    def __call__(self, forecast: Forecast, *, held: bool) -> Outlook:
        """What is known besides the forecast."""
        ...


def wishes_of(
    bar: Decidable,
    books: Books,
    declared: Declared,
    reasons: dict[PairId, str],
    *,
    fresh: bool,
    outlook: Outlooks,
    lost: Mapping[PairId, Reason] = MappingProxyType({}),
) -> Wishes:
    """The signals of a bar, routed already; `reasons` gets the newest reason of each pair.

    fresh: not too late to open on. lost: held pairs that are closed without a
    forecast of this bar, with the reason, unless a person has stopped that.
    """
    specs = declared.specs
    closes: list[Wish] = []
    opens: list[Wish] = []
    quiet: list[PairId] = []
    opened_by = books.opened_by
    found = sorted(((f, b.model) for b in bar.batches for f in b.forecasts), key=lambda row: row[0].pair)
    for forecast, model in found:
        execution = books.executions.get(forecast.pair)
        spec = _spec(forecast.pair, execution, specs)
        if spec is None or (execution is not None and not _may_act(execution, bar.bar_close_ns)):
            continue
        held = execution.held if execution is not None and execution.state is PairState.HEDGED else None
        mode = effective_mode(books.trading_states, declared.account, spec.sector, spec.pair)
        pointer = declared.pointers.get(spec.sector)
        changed = pointer is not None and must_flatten(pointer, spec.pair, opened_by.get(spec.pair))
        signal = decide(
            Case(
                forecast=forecast,
                spec=spec,
                held=held,
                mode=mode,
                fresh=fresh,
                model_changed=changed,
                outlook=outlook(forecast, held=held is not None),
            )
        )
        reasons[spec.pair] = signal.reason.value
        if signal.action is None:
            quiet.append(spec.pair)
        else:
            wish = Wish(spec=spec, forecast=forecast, model=model, action=signal.action, reason=signal.reason)
            (opens if held is None else closes).append(wish)
    orphans = (_of_lost(pair, reason, bar, books, declared) for pair, reason in lost.items())
    closes += [wish for wish in orphans if wish is not None]
    return Wishes(closes=tuple(sorted(closes, key=lambda wish: wish.spec.pair)), opens=tuple(opens), quiet=tuple(quiet))


def silent(bar: Decidable, books: Books) -> tuple[PairId, ...]:
    """Held pairs of the bar's sectors of which it says nothing, in order of id: a leg may not have traded in it."""
    sectors, heard = {batch.sector for batch in bar.batches}, {f.pair for batch in bar.batches for f in batch.forecasts}
    return tuple(
        pair
        for pair, execution in sorted(books.executions.items())
        if execution.state is PairState.HEDGED and execution.sector in sectors and pair not in heard
    )


def _of_lost(pair: PairId, reason: Reason, bar: Decidable, books: Books, declared: Declared) -> Wish | None:
    """The closing of a held pair without a forecast. None while a person has stopped it, or when no forecast of it is known any more."""
    execution = books.executions[pair]
    spec, known = _spec(pair, execution, declared.specs), books.latest.get(pair)
    if spec is None or known is None or spec.frozen or not _may_act(execution, bar.bar_close_ns):
        return None
    if effective_mode(books.trading_states, declared.account, spec.sector, pair) is TradingMode.HALTED:
        return None
    forecast, model, _ = known
    return Wish(spec=spec, forecast=forecast, model=model, action=Action.CLOSE, reason=reason)


def _may_act(execution: Execution, bar_close_ns: int) -> bool:
    """At rest, and not decided at this bar already: a record delivered again after a restart must not trade twice."""
    return execution.state in (PairState.FLAT, PairState.HEDGED) and execution.decided_ns < bar_close_ns


def _spec(pair: PairId, execution: Execution | None, specs: Mapping[PairId, PairSpec]) -> PairSpec | None:
    """The pair's declaration. A held pair that is declared no more is closed, as if suspended."""
    spec = specs.get(pair)
    if spec is not None or execution is None or execution.state is PairState.FLAT:
        return spec
    return PairSpec(pair=pair, sector=execution.sector, leg_a=execution.a.symbol, leg_b=execution.b.symbol, suspended=True)
