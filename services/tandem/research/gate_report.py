"""The report of `tandem research gates`: false promotions, power, and refits on recorded prices, as JSON and tables."""

import json
from dataclasses import asdict, replace
from pathlib import Path

from tandem.adapters.config_files import load_sectors
from tandem.research import gate_refits, rollout_gates
from tandem.research.rollout_gates import Progress
from tandem.research.spread_universe import SpreadRequest, SpreadUniverse, load_spreads
from tandem.rollout.policy import GatePolicy
from tandem.trainer.options import load_options


def universe(data: Path, *, test_from_ns: int, test_to_ns: int, config: Path) -> SpreadUniverse:
    """The pairs of a file to refit, with as many bars before the test span as a fit and the longest gap need."""
    request = SpreadRequest(
        data=data,
        bar="1d",
        test_from_ns=test_from_ns,
        test_to_ns=test_to_ns,
        sectors=load_sectors(config).sectors,
        bars_min=gate_refits.WARM_BARS + 2 * max(gate_refits.GAPS.values()),
        bars_max=gate_refits.TRAINED_BARS + max(gate_refits.GAPS.values()),
    )
    return load_spreads(request)


def write(
    out: Path,
    *,
    replicates: int,
    seed: int,
    bars_min: int | None,
    universe: SpreadUniverse | None,
    config: Path,
    progress: Progress,
) -> str:
    """Simulate, write `out` and beside it the same name with .md, and return the tables."""
    policy = GatePolicy() if bars_min is None else replace(GatePolicy(), bars_min=bars_min)
    cases = (*rollout_gates.null_cases(policy), *rollout_gates.power_cases(policy))
    rows = rollout_gates.run(cases, replicates=replicates, seed=seed, progress=progress)
    report = rollout_gates.document(rows, seed=seed)
    table = rollout_gates.markdown(rows)
    if universe is not None:
        options = load_options(config / "training.yaml")
        found = gate_refits.refits(universe, options=options, policy=policy, progress=progress)
        report |= {"data_digest": universe.data_digest, "refits": [asdict(each) for each in found]}
        table += "\n### Refits on recorded prices\n\n" + gate_refits.markdown(found)
    out.write_text(json.dumps(report, indent=1) + "\n")
    out.with_suffix(".md").write_text(table)
    return table
