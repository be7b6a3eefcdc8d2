"""How often the statistical gate of a rollout errs, and how soon it sees what is there: simulated with the gate's own code.

Each simulated candidate is looked at after every bar, from bars_min to bars_max, and what the first verdict was is counted: what a rollout
does. Beside it, what the same looks would do with the usual tests. Called by `tandem research gates`; its tables: docs/rollout-gates.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tandem.quant import sequential
from tandem.quant.paired_qlike import tail_variance
from tandem.research.gate_worlds import (
    NORMAL,
    Draw,
    World,
    above,
    fixed,
    garch,
    independent,
    noisier,
    other_spread,
    regimes,
    wandering,
    wrong,
)
from tandem.rollout.policy import Claim, GatePolicy

Bars = NDArray[np.int64]  # (R,) at which something first happened; NEVER
NEVER = np.iinfo(np.int64).max
CHUNK = 32  # replicates at a time: half a megabyte for each series of 2,000 bars, which the processor keeps at hand
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Firsts:
    """The bar of the first verdict of each replicate, by rule."""

    passed: Bars  # without a Fail before it
    failed: Bars  # without a Pass before it
    naive: Bars  # one-sided Diebold-Mariano with HAC and HLN below the level, at each bar
    plain: Bars  # the anytime-valid boundary with the ordinary standard error


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Shares of the replicates, of one world under one claim."""

    world: str
    pairs: int
    claim: str
    null: float
    excess: float
    bars_min: int
    replicates: int
    passed: dict[int, float]  # by bars
    failed: dict[int, float]
    naive: dict[int, float]
    plain: dict[int, float]
    median_bars: int | None  # to the first Pass; None when fewer than half pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A world with a true excess, and the policy that looks at it."""

    world: World
    excess: float
    policy: GatePolicy


def null_cases(policy: GatePolicy) -> tuple[Case, ...]:
    """Candidates exactly as bad as the claim must not let pass: each Pass is false."""
    return tuple(Case(world=world, excess=_null(claim), policy=claim) for claim in _claims(policy) for world in _null_worlds(_null(claim)))


def power_cases(policy: GatePolicy) -> tuple[Case, ...]:
    """Candidates that are equal, better or worse by what is stated."""
    inferior, superior = _claims(policy)
    equal = [(f"equal, errors of sd {variance**0.5:.2f}", variance, 0.0) for variance in (0.0025, 0.01, 0.04, 0.09)]
    better = [(f"better by {gain}", 0.2, -gain) for gain in (0.02, 0.05, 0.08)]
    worse = [(f"worse by {loss}", 0.04, loss) for loss in (0.1, 0.2, 0.4)]

    gross = [
        ("variance a tenth", -np.log(10)),
        ("variance halved", -np.log(2)),
        ("variance doubled", np.log(2)),
        ("variance tenfold", np.log(10)),
    ]
    broken = [
        Case(world=World(name=name, pairs=pairs, draw=wrong(pairs=pairs, dof=5, error=error)), excess=above(error, 0.0), policy=inferior)
        for pairs in (1, 5)
        for name, error in gross
    ]

    def cases(found: Sequence[tuple[str, float, float]], claim: GatePolicy) -> list[Case]:
        return [
            Case(world=World(name=name, pairs=pairs, draw=noisier(pairs=pairs, dof=5, variance=variance)), excess=excess, policy=claim)
            for pairs in (1, 5)
            for name, variance, excess in found
        ]

    return (*cases([*equal, *better, *worse], inferior), *broken, *cases([*better, *worse], superior))


def measure(case: Case, *, replicates: int, seed: int) -> Row:
    """Simulate one case."""
    rng = np.random.default_rng(seed)
    null, policy, parts = _null(case.policy), case.policy, []
    for begun in range(0, replicates, CHUNK):
        draw = case.world.draw(rng, min(CHUNK, replicates - begun), policy.bars_max, case.excess)
        parts.append(firsts(draw, null=null, start=policy.bars_min, level=policy.level))
    passed, failed, naive, plain = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("passed", "failed", "naive", "plain")
    )
    horizons = sorted({policy.bars_min, 120, 250, 500, 1000, policy.bars_max})

    def shares(bars: Bars) -> dict[int, float]:
        return {horizon: float(np.mean(bars <= horizon)) for horizon in horizons}

    median = int(np.median(passed))
    return Row(
        world=case.world.name,
        pairs=case.world.pairs,
        claim=policy.claim.value,
        null=null,
        excess=case.excess,
        bars_min=policy.bars_min,
        replicates=replicates,
        passed=shares(passed),
        failed=shares(failed),
        naive=shares(naive),
        plain=shares(plain),
        median_bars=median if median <= policy.bars_max else None,
    )


def run(cases: Sequence[Case], *, replicates: int, seed: int, progress: Progress) -> list[Row]:
    """All cases, each with a seed of its own."""
    rows = []
    for number, case in enumerate(cases):
        progress(case.world.name, number, len(cases))
        rows.append(measure(case, replicates=replicates, seed=seed + number))
    return rows


def firsts(draw: Draw, *, null: float, start: int, level: float) -> Firsts:
    """The first verdicts on each replicate, from `start` bars on, as rollout/promotion.py gives them."""
    means = draw.differences.mean(axis=2)
    bound = _bound(level)
    passing = _crossed(null - means, start, bound, tail_variance(draw.ratios, null=null, sign=1))
    failing = _failing(draw, null=null, start=start, level=level)
    statistic = _ordinary(null - means)
    count = np.arange(1, means.shape[1] + 1)
    critical = stats.t.isf(level, np.maximum(count - 1, 1))
    hits = (statistic * np.sqrt((count - 1) / count) >= critical) & (count >= start)
    return Firsts(
        passed=np.where(passing < failing, passing, NEVER),
        failed=np.where(failing <= passing, failing, NEVER),
        naive=_first(hits),
        plain=_first(sequential.best_evidence(statistic, start=start) >= bound),
    )


def _failing(draw: Draw, *, null: float, start: int, level: float) -> Bars:
    """The level goes half to all pairs together and half to Holm's method over the pairs, whose first rejection is Bonferroni's."""
    pairs = draw.differences.shape[2]
    together = draw.differences.mean(axis=2) - null
    found = _crossed(together, start, _bound(level if pairs == 1 else level / 2), tail_variance(draw.ratios, null=null, sign=-1))
    for pair in range(pairs if pairs > 1 else 0):
        tail = tail_variance(draw.ratios[:, :, pair, None], null=null, sign=-1)
        found = np.minimum(found, _crossed(draw.differences[:, :, pair] - null, start, _bound(level / 2 / pairs), tail))
    return found


def _bound(level: float) -> float:
    return float(sequential.evidence(np.array(sequential.start_level(level))))


def markdown(rows: Sequence[Row]) -> str:
    """The rows as tables, one for each claim and kind."""
    lines: list[str] = []
    for title, kept in _titled(rows):
        horizons = list(kept[0].passed)
        lines += ["", f"### {title}", ""]
        lines.append(
            "| world | pairs | "
            + " | ".join(f"Pass by {bars}" for bars in horizons)
            + " | Fail by 250 | Fail | usual test | boundary alone | median bars to Pass |"
        )
        lines.append("|---|---|" + "---|" * (len(horizons) + 5))
        for row in kept:
            passed = " | ".join(_percent(row.passed[bars]) for bars in horizons)
            ends = [row.failed[250], *(shares[horizons[-1]] for shares in (row.failed, row.naive, row.plain))]
            rest = " | ".join(map(_percent, ends))
            lines.append(f"| {row.world} | {row.pairs} | {passed} | {rest} | {row.median_bars or '-'} |")
    return "\n".join(lines[1:]) + "\n"


def document(rows: Sequence[Row], *, seed: int) -> dict[str, object]:
    """The rows as JSON values."""
    return {"seed": seed, "rows": [asdict(row) for row in rows]}


def _titled(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        kind = "exactly as bad as must not pass" if row.excess == row.null else "equal, better or worse"
        found.setdefault(f"{row.claim}, null {row.null:g}: {kind}", []).append(row)
    return list(found.items())


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _claims(policy: GatePolicy) -> tuple[GatePolicy, GatePolicy]:
    return replace(policy, claim=Claim.NON_INFERIOR), replace(policy, claim=Claim.SUPERIOR)


def _null(policy: GatePolicy) -> float:
    return policy.margin_qlike if policy.claim is Claim.NON_INFERIOR else 0.0


def _null_worlds(null: float) -> tuple[World, ...]:
    worlds = [
        World(name="independent, normal", pairs=1, draw=independent(persistence=0.0, dof=NORMAL)),
        World(name="independent, t(4)", pairs=1, draw=independent(persistence=0.0, dof=4)),
        World(name="autocorrelated .3, normal", pairs=1, draw=independent(persistence=0.3, dof=NORMAL)),
        World(name="autocorrelated .5, t(4)", pairs=1, draw=independent(persistence=0.5, dof=4)),
    ]
    for pairs in (1, 5):
        for law, dof in (("normal", NORMAL), ("t(6)", 6.0), ("t(4)", 4.0)):
            worlds.append(
                World(name=f"too low at every bar, {law}", pairs=pairs, draw=fixed(pairs=pairs, dof=dof, stable=0.0 if null else 0.3))
            )
        for law, dof in (("normal", NORMAL), ("t(5)", 5.0), ("t(4)", 4.0)):
            worlds.append(
                World(name=f"too low and wandering, {law}", pairs=pairs, draw=wandering(pairs=pairs, dof=dof, variance=0.04, stable=0.2))
            )
        worlds += [
            World(name="wandering alike, normal", pairs=pairs, draw=noisier(pairs=pairs, dof=NORMAL, variance=0.02 if null else 0.1)),
            World(name="wandering alike, t(5)", pairs=pairs, draw=noisier(pairs=pairs, dof=5, variance=0.02 if null else 0.1)),
            World(name="better in turn, t(5)", pairs=pairs, draw=regimes(pairs=pairs, dof=5, size=0.1, persistence=0.97)),
        ]
        if null:
            worlds += [
                World(name="GARCH against smoothing, normal", pairs=pairs, draw=garch(pairs=pairs, dof=NORMAL)),
                World(name="GARCH against smoothing, t(5)", pairs=pairs, draw=garch(pairs=pairs, dof=5)),
                World(name="another spread, t(4) leak", pairs=pairs, draw=other_spread(pairs=pairs, dof=5, leak=0.5, leak_dof=4)),
                World(name="another spread, t(3) leak", pairs=pairs, draw=other_spread(pairs=pairs, dof=NORMAL, leak=0.5, leak_dof=3)),
            ]
    worlds.append(World(name="too low at every bar, t(3)", pairs=1, draw=fixed(pairs=1, dof=3, stable=0.0 if null else 0.3)))
    return tuple(worlds)


def _crossed(gains: NDArray[np.float64], start: int, bound: float, tail: NDArray[np.float64]) -> Bars:
    statistic = sequential.prefix_statistic(gains, tail_variance=tail)
    return _first(sequential.best_evidence(statistic, start=start) >= bound)


def _ordinary(gains: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over its Newey-West standard error, of each prefix."""
    count = np.arange(1, gains.shape[1] + 1)
    total = np.cumsum(gains, axis=1)
    centred = np.cumsum(gains**2, axis=1) - total**2 / count
    variance = centred * np.maximum(sequential.newey_west_share(gains), 0.05)
    return np.divide(total, np.sqrt(np.maximum(variance, 0.0)), out=np.zeros(gains.shape), where=variance > 0)


def _first(hits: NDArray[np.bool_]) -> Bars:
    return np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, NEVER)
