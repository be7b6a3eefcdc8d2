"""What applying some manifests to what is declared already would change. Pure: cli/apply.py reads and writes the topic around it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Generic, TypeVar

from tandem.domain.control import PairSpec, TradingState
from tandem.domain.errors import Permanent


class Verb(StrEnum):
    """What becomes of a declared pair, in kubectl's words."""

    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"


Record = TypeVar("Record", PairSpec, TradingState)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Generic[Record]):
    """One of the wanted records."""

    verb: Verb
    spec: Record
    differences: tuple[str, ...] = ()  # "entry_z 2.0 -> 1.5", for CONFIGURED


def plan(current: Mapping[str, PairSpec], wanted: Sequence[PairSpec]) -> tuple[Change[PairSpec], ...]:
    """One change for each wanted pair, in their order. Pairs that are declared and not wanted stay as they are.

    Raises Permanent for a pair whose legs are declared already the other way round: both would hold the same bet twice.
    """
    turned = [
        f"{spec.pair}: {spec.leg_b}-{spec.leg_a} is declared already, with the legs the other way round; delete that first"
        for spec in wanted
        if f"{spec.leg_b}-{spec.leg_a}" in current
    ]
    if turned:
        raise Permanent("\n".join(turned))
    return tuple(_change(current.get(spec.pair), spec) for spec in wanted)


def plan_modes(current: Mapping[str, TradingState], wanted: Sequence[TradingState]) -> tuple[Change[TradingState], ...]:
    """One change for each wanted trading state, in their order. current: by scope."""
    return tuple(_change(current.get(state.scope), state) for state in wanted)


def _change(old: Record | None, new: Record) -> Change[Record]:
    if old is None:
        return Change(verb=Verb.CREATED, spec=new)
    differences = tuple(
        f"{field.name} {_shown(getattr(old, field.name))} -> {_shown(getattr(new, field.name))}"
        for field in fields(new)
        if getattr(old, field.name) != getattr(new, field.name)
    )
    return Change(verb=Verb.CONFIGURED if differences else Verb.UNCHANGED, spec=new, differences=differences)


def _shown(value: object) -> object:
    return '""' if value == "" else value
