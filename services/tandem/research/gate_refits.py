"""The gate on recorded prices: versions fitted at two dates, compared on the bars that follow, as in a rollout.

The versions are the trainer's own fits of hedge ratio, AR(1) and variance, each on the bars before its date; their variances are those of
the filter, without the network on top. Nothing is known of the truth here, except where a variance is halved on purpose: then the candidate
is worse by about .3, or better where it is the stable version's that is halved. Called by `tandem research gates --data`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tandem.domain.ids import PairId, SectorId
from tandem.quant.bundle import PairModel
from tandem.quant.history import PairHistory, fold
from tandem.quant.losses import qlike
from tandem.quant.panel import Panel
from tandem.quant.rejections import FitRejected
from tandem.research.gate_worlds import Draw
from tandem.research.rollout_gates import NEVER, Progress, firsts
from tandem.research.spread_universe import SpreadUniverse
from tandem.rollout.paired import PairedLosses
from tandem.rollout.policy import Claim, GatePolicy
from tandem.trainer.options import TrainingOptions
from tandem.trainer.pair_fits import fit_pair

Matrix = NDArray[np.float64]
TRAINED_BARS = 2_520  # ten years of days
JUDGED_BARS = 750  # after the candidate's date
WARM_BARS = 250  # that the filters run over before it
GAPS = {"a week": 5, "a month": 21, "a year": 250}  # bars between the two dates


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One candidate of one sector at one date."""

    sector: SectorId
    date_ns: int
    kind: str
    claim: str
    pairs: int
    bars: int
    effect: float  # mean difference over all bars: not known to who looks earlier
    sd_scored: float  # of a bar's mean difference of the QLIKE that was scored
    sd_compared: float  # of the one that the gate compares: small moves of two spreads count less
    passed_bars: int | None
    failed_bars: int | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Version:
    """A sector's pairs as one date knows them, and what it said of the bars to judge."""

    histories: dict[PairId, PairHistory]
    scale: float = 1.0  # of its variances


def refits(universe: SpreadUniverse, *, options: TrainingOptions, policy: GatePolicy, progress: Progress) -> list[Comparison]:
    """Every sector at every JUDGED_BARS bars from the universe's first test bar on."""
    dates = range(universe.first_test, len(universe.panel.close_ns) - JUDGED_BARS + 1, JUDGED_BARS)
    found: list[Comparison] = []
    for number, date in enumerate(dates):
        progress("refits", number, len(dates))
        for sector, pairs in universe.pairs.items():
            found += _sector(universe, sector, pairs, date, options=options, policy=policy)
    return found


def markdown(found: Sequence[Comparison]) -> str:
    """How many of each kind passed, failed, or were left open, and after how many bars."""
    lines = [
        "| candidate | claim | comparisons | Pass | Fail | open after all bars | median bars to Pass | to Fail | sd scored | compared |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for kind, claim in dict.fromkeys((each.kind, each.claim) for each in found):
        rows = [each for each in found if (each.kind, each.claim) == (kind, claim)]
        passed = [each.passed_bars for each in rows if each.passed_bars is not None]
        failed = [each.failed_bars for each in rows if each.failed_bars is not None]
        lines.append(
            f"| {kind} | {claim} | {len(rows)} | {len(passed)} | {len(failed)} | {len(rows) - len(passed) - len(failed)} "
            f"| {int(np.median(passed)) if passed else '-'} | {int(np.median(failed)) if failed else '-'} "
            f"| {np.median([each.sd_scored for each in rows]):.3f} | {np.median([each.sd_compared for each in rows]):.3f} |"
        )
    return "\n".join(lines) + "\n"


def _sector(
    universe: SpreadUniverse, sector: SectorId, pairs: Sequence[PairId], date: int, *, options: TrainingOptions, policy: GatePolicy
) -> list[Comparison]:
    judged = universe.panel.between(date - WARM_BARS, date + JUDGED_BARS)
    fitted = {gap: _version(universe, pairs, date - gap, judged, options) for gap in (0, *GAPS.values())}
    now = fitted[0]
    halved = replace(now, scale=0.5)
    versions = {f"refitted after {name}": (fitted[gap], now) for name, gap in GAPS.items()}
    versions |= {"halved variance": (now, halved), "halved variance taken back": (halved, now)}
    found = []
    for kind, (stable, candidate) in versions.items():
        losses = _losses(stable, candidate, from_ns=int(universe.panel.close_ns[date - 1]))
        if losses is not None:
            found += [_compare(losses, sector, kind, replace(policy, claim=claim)) for claim in Claim]
    return found


def _version(universe: SpreadUniverse, pairs: Sequence[PairId], at: int, judged: Panel, options: TrainingOptions) -> _Version:
    trained = universe.panel.between(max(0, at - TRAINED_BARS), at)
    models: list[PairModel] = []
    for pair in pairs:
        try:
            models.append(fit_pair(trained, pair, universe.slots, options))
        except FitRejected:
            continue  # as in a training: the version does not hold the pair
    return _Version(histories={model.pair: history for model, history in zip(models, fold(judged, models), strict=True)} if models else {})


def _losses(stable: _Version, candidate: _Version, *, from_ns: int) -> PairedLosses | None:
    """Of the pairs that both hold, at the bars that all of them have; None without any."""
    pairs = tuple(sorted(stable.histories.keys() & candidate.histories.keys()))
    if not pairs:
        return None
    parts = [_scored(version.histories[pair], version.scale) for version in (stable, candidate) for pair in pairs]
    times = parts[0][0]
    for closes, _, _ in parts[1:]:
        times = np.intersect1d(times, closes, assume_unique=True)
    times = times[times >= from_ns]
    tables: list[Matrix] = [np.column_stack([part[column][np.searchsorted(part[0], times)] for part in parts]) for column in (1, 2)]
    (old_realised, realised), (old_variance, variance) = ((table[:, : len(pairs)], table[:, len(pairs) :]) for table in tables)
    return PairedLosses(
        close_ns=times,
        sessions=np.arange(len(times)),
        pairs=pairs,
        stable=qlike(old_realised, old_variance),
        candidate=qlike(realised, variance),
        log_variance_ratio=np.log(variance / old_variance),
        realised_stable=old_realised,
        realised_candidate=realised,
    )


def _scored(history: PairHistory, scale: float) -> tuple[NDArray[np.int64], Matrix, Matrix]:
    """Close, squared innovation of the next bar, and what was said of it, where the next bar is the grid's next."""
    followed = history.elapsed[1:] == 1
    realised = (history.spread[1:] - history.expected_spread[:-1]) ** 2
    return history.close_ns[:-1][followed], realised[followed], scale * history.garch_variance[:-1][followed]


def _compare(losses: PairedLosses, sector: SectorId, kind: str, policy: GatePolicy) -> Comparison:
    null = policy.margin_qlike if policy.claim is Claim.NON_INFERIOR else 0.0
    draw = Draw(differences=losses.differences[None], ratios=losses.relative_ratios[None])
    found = firsts(draw, null=null, start=policy.bars_min, level=policy.level)
    passed, failed = int(found.passed[0]), int(found.failed[0])
    return Comparison(
        sector=sector,
        date_ns=int(losses.close_ns[0]),
        kind=kind,
        claim=policy.claim.value,
        pairs=len(losses.pairs),
        bars=losses.bars,
        effect=float(draw.differences.mean()),
        sd_scored=float((losses.candidate - losses.stable).mean(axis=1).std()),
        sd_compared=float(draw.differences[0].mean(axis=1).std()),
        passed_bars=passed if passed != NEVER else None,
        failed_bars=failed if failed != NEVER else None,
    )
