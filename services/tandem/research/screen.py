"""A screening from beginning to end: read, test, choose, compare with the next span. Called by the command and by tests."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tandem.quant.composite import SeedRule
from tandem.research.screen_policies import FdrRule, Picks, fdr_picks, old_first_gates, seed_picks
from tandem.research.screen_statistics import LEVEL, PairTable, Progress, size_of_the_test, statistics
from tandem.research.screen_summary import summary
from tandem.research.screen_universe import ScreenRequest, Universe, load_universe


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenRules:
    """How to test and to choose. policy: one of screen_policies.POLICIES."""

    policy: str
    bars_min: int
    lags_max: int | None
    fdr: FdrRule
    seed: SeedRule


def screened(request: ScreenRequest, rules: ScreenRules, progress: Progress) -> tuple[PairTable, dict[str, Any]]:
    """The table with one row for each pair, and the summary as a JSON document."""
    universe = load_universe(request)
    table = statistics(universe, bars_min=rules.bars_min, lags_max=rules.lags_max, progress=progress)
    picks, groups = choose(universe, table, rules, progress)
    chosen = picks.get(rules.policy, Picks(reason=np.full(len(table.pairs), "policy_none")))
    table.columns.update(chosen=chosen.picked, chosen_reason=chosen.reason)
    size = size_of_the_test(len(universe.close_ns), lags_max=rules.lags_max)
    return table, summary(request, universe, table, groups, size=size, chosen=chosen) | {"policy": rules.policy}


def choose(
    universe: Universe, table: PairTable, rules: ScreenRules, progress: Progress
) -> tuple[dict[str, Picks], dict[str, NDArray[np.bool_]]]:
    """What each policy picks, with its columns added to the table; and the sets of pairs whose persistence is compared."""
    by_fdr = fdr_picks(table, rules.fdr)
    by_seed, scores = seed_picks(universe, table, rules.seed, progress)
    table.columns.update(scores)
    table.columns.update(fdr_picked=by_fdr.picked, fdr_reason=by_fdr.reason, seed_picked=by_seed.picked, seed_reason=by_seed.reason)
    if "next_p" in table.columns:
        table.columns["persisted"] = table.columns["next_p"] < LEVEL
    groups = {
        "all tested (base rate)": table.tested,
        "p < 0.05 in one direction": table.tested & (table.columns["p_min"] < LEVEL),
        "first gates as they were": old_first_gates(table, rules.seed),
        "q <= false-discovery rate": table.tested & (table.columns["q_min"] <= rules.fdr.false_discovery_rate),
        "fdr": by_fdr.picked,
        "seed": by_seed.picked,
    }
    return {"fdr": by_fdr, "seed": by_seed}, groups


def write(path: Path, table: PairTable, document: dict[str, Any]) -> None:
    """The table as Parquet, whole or not at all; the data's name and digest and the policy in its metadata."""
    described = {key: str(document[key]) for key in ("data", "data_digest", "from", "to", "bar", "policy")}
    # NaN stands for "not computed": a null says so to every reader.
    columns = {name: pa.array(column, from_pandas=True) for name, column in table.columns.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    pq.write_table(pa.table(columns).replace_schema_metadata(described), partial, compression="zstd")
    partial.replace(path)
