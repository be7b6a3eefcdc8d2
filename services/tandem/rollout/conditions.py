"""Conditions of a resource's status: what holds of it, why or why not, and since when. Pure: the time comes as an argument.

A decision yields findings without a clock; `updated` writes them into what stands there. Of positive polarity: True is the good case.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from tandem.domain.units import NS_PER_S, utc
from tandem.rollout.resources import Written

StatusText = Literal["True", "False", "Unknown"]
READY = "Ready"
MESSAGE_CHARACTERS_MAX = 1024  # as an Event's, which tells the same
CONDITIONS_MAX = 16
_CAMEL = r"^[A-Z][A-Za-z0-9]*$"


class Condition(Written):
    """One condition, as Kubernetes writes it (metav1.Condition)."""

    type: str = Field(pattern=_CAMEL, max_length=64, description="What holds when the status is True.")
    status: StatusText = Field(description="True, False or Unknown.")
    reason: str = Field(pattern=_CAMEL, max_length=64, description="Why, as one word for programs.")
    message: str = Field(default="", max_length=MESSAGE_CHARACTERS_MAX, description="Why, and what to do next, for people.")
    observed_generation: int = Field(default=0, ge=0, description="The generation of the spec that was looked at.")
    last_transition_time: str = Field(
        max_length=40, json_schema_extra={"format": "date-time"}, description="When the status last changed; a new reason does not count."
    )


Conditions = Annotated[
    tuple[Condition, ...],
    Field(
        strict=False,  # a cluster shows a list
        max_length=CONDITIONS_MAX,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        description="What holds and what does not, each with its reason.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a look at the world says about one condition. reason: CamelCase, one of a fixed set; message: what was found and what to do."""

    type: str
    status: StatusText
    reason: str
    message: str = ""


def updated(conditions: Sequence[Condition], findings: Iterable[Finding], *, generation: int, now_s: float) -> tuple[Condition, ...]:
    """The conditions with the findings in them, in their old order, new ones behind; those without a finding stay as they are.

    lastTransitionTime moves only when the status changes. A message is cut at MESSAGE_CHARACTERS_MAX. now_s: Unix seconds.
    """
    table = {condition.type: condition for condition in conditions}
    for finding in findings:
        old = table.get(finding.type)
        since = old.last_transition_time if old and old.status == finding.status else _time(now_s)
        table[finding.type] = Condition(
            type=finding.type,
            status=finding.status,
            reason=finding.reason,
            message=_cut(finding.message),
            observed_generation=generation,
            last_transition_time=since,
        )
    return tuple(table.values())


def ready(findings: Sequence[Finding], *, reason: str = "AllGood", message: str = "") -> Finding:
    """The finding Ready: True when all others are, with this reason; else the first that is False, or the first Unknown one, tells why."""
    for status in ("False", "Unknown"):
        for finding in findings:
            if finding.status == status:
                return Finding(type=READY, status=finding.status, reason=finding.reason, message=finding.message)
    return Finding(type=READY, status="True", reason=reason, message=message)


def condition_of(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of a type; None when there is none."""
    return next((condition for condition in conditions if condition.type == kind), None)


def _cut(text: str) -> str:
    return text if len(text) <= MESSAGE_CHARACTERS_MAX else f"{text[: MESSAGE_CHARACTERS_MAX - 3]}..."


def _time(unix_s: float) -> str:
    """To the second, as Kubernetes writes its own times."""
    return f"{utc(int(unix_s) * NS_PER_S):%Y-%m-%dT%H:%M:%SZ}"
