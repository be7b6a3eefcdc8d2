"""The gates between a candidate and the money: its paired QLIKE against the stable version's, and how it behaves as a program. Pure.

Decides a verdict for each gate from what has been observed so far; what follows from it is plan.py's. Looking at every bar is safe: the
statistical gate's p-values are anytime-valid (quant/sequential.py), so the first look at which one is small enough may be acted on.
No data is never a failure, and never a pass.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tandem.domain.ids import PairId
from tandem.quant.paired_qlike import WARM_BARS, tail_variance
from tandem.quant.scores import diebold_mariano, newey_west_lags
from tandem.quant.sequential import anytime_p
from tandem.rollout.observed import Evidence
from tandem.rollout.paired import PairedLosses
from tandem.rollout.policy import Claim, GatePolicy, OperationalPolicy, RolloutPolicy
from tandem.rollout.state import GateResult, Verdict

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
_ALL = "all pairs"
QLIKE_GATE = "qlike"
_DM_MIN = 10  # losses; quant.scores takes no fewer
FORECASTS_MIN = 100  # below, one forecast alone is more than the smallest share of the default policy
NAMED_MAX = 3  # pairs that a reason names: it must stay readable in a terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a version's forecaster counts of itself since its state was rebuilt. None where it could not be asked."""

    errors: int | None = None  # records that it could not use
    forecasts: int | None = None  # published
    withheld: int | None = None  # not published, because not finite
    latency_p99_s: float | None = None


UNKNOWN = Health()


def judge(losses: PairedLosses, policy: RolloutPolicy, *, candidate: Health = UNKNOWN, stable: Health = UNKNOWN) -> Evidence:
    """Every gate at this look. losses: all bars that count, see RolloutState.evidence_from_ns."""
    gates = (statistical(losses, policy.gate), *operations(losses, policy.operations, candidate=candidate, stable=stable))
    return Evidence(
        gates=gates,
        bars=losses.bars,
        newest_ns=losses.newest_ns,
        market_ns=losses.market_ns,
        diverged_share=diverged_share(losses, policy.operations),
    )


def overall(gates: tuple[GateResult, ...]) -> Verdict:
    """Fail when any gate fails; else what the statistical gate says: the operational gates can fail a candidate, never pass one."""
    if any(gate.verdict is Verdict.FAIL for gate in gates):
        return Verdict.FAIL
    return next((gate.verdict for gate in gates if gate.name == QLIKE_GATE), Verdict.INCONCLUSIVE)


def statistical(losses: PairedLosses, policy: GatePolicy) -> GateResult:
    """Pass when the claim about the mean over all pairs is shown; Fail when the candidate is shown to be worse, over all pairs or in one.

    One bar counts once, however many pairs it has: pairs of one sector move together. Of the level of a Fail one half goes to all pairs
    together, and one half to Holm's method (1979) over the pairs.
    """
    margin = 0.0 if policy.claim is Claim.SUPERIOR else policy.margin_qlike
    differences, ratios = losses.differences, losses.relative_ratios
    paired = np.isfinite(differences).any(axis=1)
    differences, ratios = differences[paired], np.where(np.isfinite(differences), ratios, np.nan)[paired]
    means = np.nanmean(differences, axis=1) if paired.any() else np.empty(0)
    sessions = losses.sessions[paired]
    bars, days = len(means), len(np.unique(sessions))
    effect = float(means.mean()) if bars else None
    start = _start(sessions, policy)
    if start is None or effect is None:
        least = max(policy.bars_min, WARM_BARS)
        reason = f"{bars} paired bars of {days} sessions, a verdict from {least} bars of {policy.sessions_min} sessions on"
        return GateResult(name=QLIKE_GATE, verdict=Verdict.INCONCLUSIVE, reason=reason, bars=bars, sessions=days, effect=effect)
    tail = tail_variance(ratios, null=margin, sign=1)
    p_value = float(anytime_p(margin - means, start=start, tail_variance=tail)[-1])
    worse = _worse(_Table(pairs=losses.pairs, differences=differences, ratios=ratios, sessions=sessions), means, start, policy, margin)
    claim = "better" if policy.claim is Claim.SUPERIOR else f"not worse by {margin:g}"
    passed = f"mean QLIKE {effect:+.4f} over {bars} bars of {days} sessions: p = {p_value:.3g} for {claim}, pass below {policy.level:g}"
    return GateResult(
        name=QLIKE_GATE,
        verdict=Verdict.FAIL if worse else Verdict.PASS if p_value < policy.level else Verdict.INCONCLUSIVE,
        reason=worse or passed,
        bars=bars,
        sessions=days,
        effect=effect,
        statistic=_diebold_mariano(means),
        p_value=p_value,
    )


def operations(
    losses: PairedLosses, policy: OperationalPolicy, *, candidate: Health = UNKNOWN, stable: Health = UNKNOWN
) -> tuple[GateResult, ...]:
    """The gates on a candidate as a program."""
    return (
        _errors(policy, candidate, stable),
        _withheld(policy, candidate),
        _latency(policy, candidate, stable),
        _divergence(losses, policy),
    )


def _start(sessions: NDArray[np.int64], policy: GatePolicy) -> int | None:
    """The number of bars from which on there is a verdict; None before."""
    days = np.cumsum(np.diff(sessions, prepend=sessions[:1] - 1) > 0)
    count = np.arange(1, len(sessions) + 1)
    enough = np.flatnonzero((count >= max(policy.bars_min, WARM_BARS)) & (days >= policy.sessions_min))
    return int(enough[0]) + 1 if len(enough) else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Table:
    """The bars at which at least one pair can be compared."""

    pairs: tuple[PairId, ...]
    differences: Matrix  # (n, p)
    ratios: Matrix  # (n, p)
    sessions: NDArray[np.int64]  # (n,)


def _worse(table: _Table, means: Vector, start: int, policy: GatePolicy, margin: float) -> str:
    """Why the candidate is worse by more than the margin; "" while that is not shown."""
    tail = tail_variance(table.ratios, null=margin, sign=-1)
    p_values = {_ALL: float(anytime_p(means - margin, start=start, tail_variance=tail)[-1])}
    effects = {_ALL: float(means.mean())}
    for place, pair in enumerate(table.pairs):
        present = np.isfinite(table.differences[:, place])
        column = table.differences[present, place]
        pair_start = _start(table.sessions[present], policy)
        p_values[pair] = 1.0  # counts as a test from the start, so that no other's p-value rises later
        if pair_start is not None:
            tail = tail_variance(table.ratios[present, place, None], null=margin, sign=-1)
            p_values[pair] = float(anytime_p(column - margin, start=pair_start, tail_variance=tail)[-1])
            effects[pair] = float(column.mean())
    together = p_values.pop(_ALL)
    held = {_ALL: together} if len(table.pairs) == 1 else {_ALL: 2 * together} | {pair: 2 * p for pair, p in holm(p_values).items()}
    named = [name for name in sorted(held, key=lambda name: (held[name], name)) if held[name] < policy.level]
    return "; ".join(f"{name}: QLIKE {effects[name]:+.4f}, p = {held[name]:.3g} for worse than {margin:g}" for name in named[:NAMED_MAX])


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p-values (1979): reject those below the level, and no true one is rejected but with that probability."""
    adjusted, highest = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: (p_values[name], name))):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = highest
    return adjusted


def _diebold_mariano(means: Vector) -> float | None:
    if len(means) < _DM_MIN:
        return None
    return diebold_mariano(means, np.zeros_like(means), horizon=1, lags=newey_west_lags(len(means))).statistic


def _errors(policy: OperationalPolicy, candidate: Health, stable: Health) -> GateResult:
    if candidate.errors is None:
        return _unknown("errors", "the candidate could not be asked")
    if candidate.errors > policy.errors_max and stable.errors is None:
        return _unknown("errors", f"{candidate.errors} records not usable; the stable version could not be asked whether it could use them")
    own = max(0, candidate.errors - (stable.errors or 0))
    reason = f"{own} records that the stable version could use and the candidate not, at most {policy.errors_max}"
    return GateResult(name="errors", verdict=Verdict.FAIL if own > policy.errors_max else Verdict.PASS, reason=reason)


def _withheld(policy: OperationalPolicy, candidate: Health) -> GateResult:
    made = (candidate.forecasts or 0) + (candidate.withheld or 0)
    if candidate.withheld is None or candidate.forecasts is None or made < FORECASTS_MIN:
        return _unknown("withheld", f"{made} forecasts, a verdict from {FORECASTS_MIN} on")
    share = candidate.withheld / made
    reason = f"{candidate.withheld} of {made} forecasts not finite and withheld, at most {policy.withheld_share_max:.2%}"
    return GateResult(name="withheld", verdict=Verdict.FAIL if share > policy.withheld_share_max else Verdict.PASS, reason=reason)


def _latency(policy: OperationalPolicy, candidate: Health, stable: Health) -> GateResult:
    if candidate.latency_p99_s is None:
        return _unknown("latency", "no latency measured")
    reason = f"p99 {candidate.latency_p99_s:.3f} s, at most {policy.latency_p99_s_max:g} s"
    if candidate.latency_p99_s <= policy.latency_p99_s_max:
        return GateResult(name="latency", verdict=Verdict.PASS, reason=reason)
    if stable.latency_p99_s is None or stable.latency_p99_s > policy.latency_p99_s_max:
        return _unknown("latency", f"{reason}; the stable version's is no better known to be")
    return GateResult(name="latency", verdict=Verdict.FAIL, reason=f"{reason}; the stable version's {stable.latency_p99_s:.3f} s")


def _divergence(losses: PairedLosses, policy: OperationalPolicy) -> GateResult:
    beyond, paired = _diverged(losses, policy)
    if paired < FORECASTS_MIN:
        return _unknown("divergence", f"{paired} paired forecasts, a verdict from {FORECASTS_MIN} on")
    reason = (
        f"{beyond} of {paired} paired forecasts with a log variance ratio beyond {policy.divergence_max:g}, "
        f"at most {policy.divergence_share_max:.2%}"
    )
    wide = beyond / paired > policy.divergence_share_max
    return GateResult(name="divergence", verdict=Verdict.FAIL if wide else Verdict.PASS, reason=reason, bars=losses.bars)


def diverged_share(losses: PairedLosses, policy: OperationalPolicy) -> float | None:
    """Share of the paired forecasts whose log variance ratio is beyond what may be ordinary; None while there are too few for a verdict."""
    beyond, paired = _diverged(losses, policy)
    return beyond / paired if paired >= FORECASTS_MIN else None


def _diverged(losses: PairedLosses, policy: OperationalPolicy) -> tuple[int, int]:
    ratios = losses.log_variance_ratio[np.isfinite(losses.log_variance_ratio)]
    return int(np.count_nonzero(np.abs(ratios) > policy.divergence_max)), len(ratios)


def _unknown(name: str, reason: str) -> GateResult:
    return GateResult(name=name, verdict=Verdict.INCONCLUSIVE, reason=reason)
