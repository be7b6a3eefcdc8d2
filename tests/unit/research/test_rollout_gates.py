"""The simulation of the gates: its worlds are what they say, it judges as the gate does, and what it measures is reported."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from model_cases import market, tiny_options
from tandem.cli.main import app
from tandem.domain.ids import PairId, SectorId
from tandem.research import gate_refits, rollout_gates
from tandem.research.gate_worlds import NORMAL, Draw, World, above, fixed, independent, noisier, too_high, too_low
from tandem.research.rollout_gates import NEVER, Case, document, firsts, markdown, measure, null_cases, power_cases, run
from tandem.research.spread_universe import SpreadUniverse
from tandem.rollout.paired import PairedLosses
from tandem.rollout.policy import Claim, GatePolicy
from tandem.rollout.promotion import statistical
from tandem.rollout.state import Verdict

POLICY = GatePolicy(bars_min=30, sessions_min=1, bars_max=300)
CASES = {f"{case.policy.claim}, {case.world.name}, {case.world.pairs}": case for case in null_cases(POLICY)}


def losses(draw: Draw, row: int, bars: int) -> PairedLosses:
    """A replicate's first bars as the gate sees them."""
    differences = draw.differences[row, :bars]
    return PairedLosses(
        close_ns=np.arange(1, bars + 1),
        sessions=np.arange(bars),
        pairs=tuple(PairId(f"A{place}-B") for place in range(differences.shape[1])),
        stable=np.zeros_like(differences),
        candidate=differences.copy(),
        log_variance_ratio=draw.ratios[row, :bars].copy(),
    )


@pytest.mark.parametrize("name", CASES)
def test_a_null_world_is_exactly_as_bad_as_it_says(name: str) -> None:
    """100,000 bars; where tails are so heavy that a mean tells little, the few largest squares are what is missing."""
    case = CASES[name]
    draw = case.world.draw(np.random.default_rng(8), 100, 1_000, case.excess)
    means = draw.differences.mean(axis=(1, 2))
    heavy = "t(3)" in name or "t(4)" in name
    assert means.mean() == pytest.approx(case.excess, abs=max(5 * means.std() / 10, 0.002) + 0.02 * heavy)
    assert draw.ratios.shape == draw.differences.shape


@pytest.mark.parametrize("variance", [0.0, 0.2])
@pytest.mark.parametrize("excess", [0.0, 0.05, 0.4])
def test_both_roots_of_an_excess(variance: float, excess: float) -> None:
    """Above the best that errors of this variance allow, one too low and one too high; below it there is none."""
    best = above(variance / 2, variance)
    for root, side in ((too_low, -1), (too_high, 1)):
        level = root(best + excess, variance)
        assert above(level, variance) == pytest.approx(best + excess, abs=1e-10)
        assert side * (level - variance / 2) >= 0
    if variance:
        with pytest.raises(ValueError, match="it is at least"):
            too_low(best - 0.01, variance)


@pytest.mark.parametrize("claim", list(Claim))
def test_the_first_verdict_is_the_gates_own(claim: Claim) -> None:
    """Bar by bar: the gate says nothing at the bar before, and at that bar what was counted."""
    policy = replace(POLICY, claim=claim)
    null = policy.margin_qlike if claim is Claim.NON_INFERIOR else 0.0
    seen = set()
    for error, excess in ((0.0, 0.0), (-2.0, 0.0), (1.5, 0.0), (0.0, -0.25)):
        world = noisier(pairs=3, dof=5, variance=0.5) if excess else None
        rng = np.random.default_rng(9)
        if world is not None:
            draw = world(rng, 4, 300, excess)
        else:
            squares = rng.standard_normal((4, 300, 3)) ** 2
            wander = 0.05 * rng.standard_normal(squares.shape)
            ratio = error + wander
            draw = Draw(differences=squares * np.expm1(-ratio) + ratio, ratios=ratio)
        found = firsts(draw, null=null, start=policy.bars_min, level=policy.level)
        for row in range(4):
            passed, failed = int(found.passed[row]), int(found.failed[row])
            at = min(passed, failed)
            if at == NEVER:
                assert statistical(losses(draw, row, 300), policy).verdict is Verdict.INCONCLUSIVE
                continue
            seen.add(passed < failed)
            assert statistical(losses(draw, row, at), policy).verdict is (Verdict.PASS if passed < failed else Verdict.FAIL)
            assert statistical(losses(draw, row, at - 1), policy).verdict is Verdict.INCONCLUSIVE
    assert seen == {True, False}


@pytest.mark.parametrize(
    "world",
    [
        World(name="t(4), always too low", pairs=1, draw=fixed(pairs=1, dof=4, stable=0.0)),
        World(name="autocorrelated", pairs=1, draw=independent(persistence=0.5, dof=NORMAL)),
        World(name="wandering", pairs=2, draw=noisier(pairs=2, dof=5, variance=0.02)),
    ],
    ids=lambda world: world.name,
)
def test_a_candidate_that_must_not_pass_seldom_does(world: World) -> None:
    """320 rollouts, a look at each bar from 30 to 300: at most the level and three standard errors; the usual test several times that."""
    row = measure(Case(world=world, excess=POLICY.margin_qlike, policy=POLICY), replicates=320, seed=10)
    assert row.passed[300] <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 320)
    assert row.naive[300] > 0.25


def test_close_versions_pass_soon_and_broken_ones_fail() -> None:
    """What the gate is for."""
    close = Case(world=World(name="close", pairs=5, draw=noisier(pairs=5, dof=5, variance=0.0025)), excess=0.0, policy=POLICY)
    row = measure(close, replicates=96, seed=11)
    assert row.passed[250] > 0.9
    assert row.failed[300] == 0
    assert row.median_bars is not None
    broken = next(case for case in power_cases(POLICY) if case.world.name == "variance a tenth" and case.world.pairs == 5)
    row = measure(broken, replicates=96, seed=12)
    assert (row.passed[300], row.median_bars) == (0, None)
    assert row.failed[250] > 0.9


def test_the_report_holds_every_row_and_the_same_seed_gives_it_again() -> None:
    cases = [*null_cases(POLICY)[:2], *power_cases(POLICY)[:1]]
    calls: list[tuple[str, int, int]] = []
    rows = run(cases, replicates=40, seed=13, progress=lambda *call: calls.append(call))
    assert rows == run(cases, replicates=40, seed=13, progress=lambda *_: None)
    assert [done for _, done, _ in calls] == [0, 1, 2]
    table = markdown(rows)
    assert table.count("| independent, ") == 2
    assert "### non_inferior, null 0.05: exactly as bad as must not pass" in table
    assert "### non_inferior, null 0.05: equal, better or worse" in table
    assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) == 1
    report = json.loads(json.dumps(document(rows, seed=13)))
    assert report["seed"] == 13
    assert report["rows"][0]["passed"]["300"] == rows[0].passed[300]


@pytest.fixture(scope="module")
def refitted() -> list[gate_refits.Comparison]:
    """One date of one sector of made-up prices."""
    universe = SpreadUniverse(
        panel=market(1_400, phi=0.8),
        slots=1,
        first_test=600,
        pairs={SectorId("one"): (PairId("AAA-BBB"), PairId("AAA-CCC"))},
        rejections=(),
        data_digest="d" * 64,
    )
    return gate_refits.refits(universe, options=tiny_options(), policy=GatePolicy(), progress=lambda *_: None)


def test_refits_of_recorded_prices_are_compared_on_the_bars_that_follow(refitted: list[gate_refits.Comparison]) -> None:
    kinds = {each.kind for each in refitted}
    assert kinds == {
        "refitted after a week",
        "refitted after a month",
        "refitted after a year",
        "halved variance",
        "halved variance taken back",
    }
    assert len(refitted) == 2 * len(kinds)
    assert {each.pairs for each in refitted} == {2}
    assert {each.bars for each in refitted} == {gate_refits.JUDGED_BARS}  # the last bar of all has no outcome, the bar before the date has


def test_a_refit_passes_and_a_halved_variance_does_not(refitted: list[gate_refits.Comparison]) -> None:
    by = {(each.kind, each.claim): each for each in refitted}
    assert by["refitted after a week", "non_inferior"].passed_bars == 60
    halved = by["halved variance", "non_inferior"]
    assert halved.passed_bars is None
    assert halved.effect > 0.2
    assert by["halved variance taken back", "non_inferior"].passed_bars is not None
    assert by["halved variance taken back", "non_inferior"].effect == pytest.approx(-halved.effect)
    table = gate_refits.markdown(refitted)
    assert "| refitted after a week | non_inferior | 1 | 1 | 0 | 0 | 60 | - |" in table
    week = by["refitted after a week", "non_inferior"]
    assert 0 < week.sd_compared < week.sd_scored


CONFIG = Path(__file__).parents[3] / "config"


def invoke(*words: str) -> tuple[int, str]:
    result = CliRunner(env={"TANDEM_CONFIG_DIR": str(CONFIG)}).invoke(app, ["research", "gates", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_the_command_writes_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two worlds instead of all, which take minutes."""
    monkeypatch.setattr(rollout_gates, "null_cases", lambda policy: null_cases(policy)[:1])
    monkeypatch.setattr(rollout_gates, "power_cases", lambda policy: power_cases(policy)[:1])
    out = tmp_path / "gates.json"
    code, output = invoke("--replicates", "3", "--seed", "5", "--bars-min", "40", "--out", str(out))
    assert code == 0, output
    assert out.with_suffix(".md").read_text().strip() in output
    rows = json.loads(out.read_text())["rows"]
    assert [row["bars_min"] for row in rows] == [40, 40]
    assert {row["replicates"] for row in rows} == {3}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--out", "gates.txt"), "must end in .json"),
        (("--out", "x.json", "--data", "none.parquet"), "--test-from and --test-to are missing"),
        (("--out", "x.json", "--data", "none.parquet", "--test-from", "2001", "--test-to", "2002-01-01"), "--test-from"),
    ],
)
def test_what_cannot_be_used_is_named(words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = invoke(*words)
    assert code == 1
    assert message in output
