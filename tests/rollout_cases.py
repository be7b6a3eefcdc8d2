"""A sector with a stable version 1 and a candidate 2, looks at it, and states of its rollout: for the tests of the planner."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from tandem.domain.control import Canary, Handover, PinnedVersion, RoutingPointer
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId, SectorId
from tandem.rollout.notes import ENTERED
from tandem.rollout.observed import Evidence, ForecasterState, Observed, RegisteredVersion, Request
from tandem.rollout.policy import CanaryStep, GatePolicy, RolloutPolicy
from tandem.rollout.promotion import QLIKE_GATE
from tandem.rollout.state import GateResult, Outcome, RolloutState, Step, Verdict

SECTOR = SectorId("staples")
STABLE, CANDIDATE, OTHER = (ModelRef(name="m", version=number, digest=f"digest-{number}") for number in ("1", "2", "3"))
PAIRS = tuple(map(PairId, ("CL-KO", "CL-PEP", "KO-PEP", "MO-PM")))
POLICY = RolloutPolicy(
    gate=GatePolicy(bars_max=500),
    canary=(CanaryStep(pairs_share=0.25, bars=10), CanaryStep(pairs_share=0.5, bars=10)),
    watch_bars=20,
    warm_deadline_s=900.0,
)
READY, STARTING = ForecasterState(exists=True, ready=True), ForecasterState(exists=True, reason="rebuilding")
NOW_S = 1_000.0


def versions(**changes: Any) -> tuple[RegisteredVersion, ...]:
    """Both versions, 1 the champion and 2 the candidate; changes are of version 2."""
    second = RegisteredVersion(version="2", digest=CANDIDATE.digest, aliases=("candidate",), trained_to_ns=20)
    return replace(second, **changes), RegisteredVersion(version="1", digest=STABLE.digest, aliases=("champion",), trained_to_ns=10)


def pointer(
    model: ModelRef = STABLE, *, epoch: int = 4, previous: ModelRef | None = None, canary: tuple[PairId, ...] = ()
) -> RoutingPointer:
    """What the portfolio acts on; canary: the pairs of the candidate."""
    return RoutingPointer(
        sector=SECTOR,
        version=model.version,
        digest=model.digest,
        epoch=epoch,
        canary=Canary(version=CANDIDATE.version, digest=CANDIDATE.digest, pairs=canary, notional_usd_max=Decimal(5_000))
        if canary
        else None,
        previous=PinnedVersion(version=previous.version, digest=previous.digest) if previous else None,
        handover=Handover.HAND_OVER,
    )


def evidence(verdict: Verdict = Verdict.INCONCLUSIVE, bars: int = 100, *, errors: Verdict = Verdict.PASS) -> Evidence:
    """What the statistical gate and one operational gate say."""
    gates = (
        GateResult(name=QLIKE_GATE, verdict=verdict, reason=f"{bars} bars", bars=bars),
        GateResult(name="errors", verdict=errors, reason="of 0 allowed"),
    )
    return Evidence(gates=gates, bars=bars, newest_ns=bars * 10)


PASSING, FAILING = evidence(Verdict.PASS), evidence(Verdict.FAIL)


def look(**changes: Any) -> Observed:
    """Everything can be seen, the stable version runs and is routed; nothing yet of the candidate."""
    calm = Observed(now_s=NOW_S, versions=versions(), pointer=pointer(), pairs=PAIRS, forecasters={"1": READY})
    return replace(calm, **changes)


def request(action: str, request_id: str = "r1") -> Request:
    """A person's wish."""
    return Request(request_id=request_id, action=action, reason="because")


def state(step: Step, outcome: Outcome = Outcome.RUNNING, *, bars: int | None = None, **changes: Any) -> RolloutState:
    """A rollout in this step. bars: paired bars when the step began."""
    gates = () if bars is None else (GateResult(name=ENTERED, verdict=Verdict.PASS, reason="", bars=bars),)
    made = RolloutState(
        sector=SECTOR, candidate=CANDIDATE, stable=STABLE, step=step, outcome=outcome, step_entered_s=NOW_S - 10, gates=gates
    )
    return replace(made, **changes)
