"""What a screening found, in numbers for a table and for JSON: rejections, tests, passes against chance, picks and how many persist."""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tandem.domain.units import rfc3339
from tandem.quant.quality import by_reason
from tandem.research.screen_policies import Picks
from tandem.research.screen_statistics import LEVEL, PairTable
from tandem.research.screen_universe import ScreenRequest, Universe

_SHOWN = 20  # chosen pairs in the printed table; the file holds all


def summary(
    request: ScreenRequest, universe: Universe, table: PairTable, groups: dict[str, NDArray[np.bool_]], *, size: float, chosen: Picks
) -> dict[str, Any]:
    """One JSON document. groups: (P,) sets of pairs by name, whose persistence is compared with that of all tested pairs."""
    columns, tested = table.columns, int(table.tested.sum())
    p_values = np.column_stack([columns["eg_p_ab"], columns["eg_p_ba"]])[table.tested]
    untested = Counter(reason for reason in columns["untested"].tolist() if reason)
    return {
        "data": request.data.name,
        "data_digest": universe.data_digest,
        "sector": request.sector,
        "bar": request.bar,
        "from": rfc3339(int(universe.close_ns[0])),
        "to": rfc3339(int(universe.close_ns[-1])),
        "bars": len(universe.close_ns),
        "symbols": len(universe.symbols),
        "rejected": [{"symbol": r.symbol, "reason": r.reason, "detail": r.detail} for r in universe.rejections],
        "rejected_by_reason": {reason: len(names) for reason, names in by_reason(universe.rejections).items()},
        "pairs": len(table.pairs),
        "pairs_untested": dict(sorted(untested.items())),
        "tests": 2 * tested,
        "below_5pct": int((p_values < LEVEL).sum()),
        "below_5pct_by_chance": LEVEL * 2 * tested,
        "below_5pct_of_random_walks": size * 2 * tested,
        "size_of_the_test": size,
        "next": _next(universe, table),
        "policies": {name: _persistence(table, members) for name, members in groups.items()},
        "chosen": [_chosen(table, universe, row) for row in _ranked(table, chosen)[:_SHOWN]],
    }


def _next(universe: Universe, table: PairTable) -> dict[str, Any] | None:
    if not len(universe.next_ns):
        return None
    return {
        "from": rfc3339(int(universe.next_ns[0])),
        "to": rfc3339(int(universe.next_ns[-1])),
        "bars": len(universe.next_ns),
        "measured": int(np.isfinite(table.columns["next_p"]).sum()),
        "rejected": [{"symbol": r.symbol, "reason": r.reason, "detail": r.detail} for r in universe.next_rejections],
    }


def _persistence(table: PairTable, members: NDArray[np.bool_]) -> dict[str, Any]:
    """Of a set of pairs: how many there are, are measured in the next span, and pass there."""
    found: dict[str, Any] = {"picks": int(members.sum()), "measured": 0, "persist": 0, "persist_share": None, "persist_frozen_share": None}
    if "next_p" not in table.columns:
        return found
    p_value = table.columns["next_p"][members]
    p_value, frozen = p_value[np.isfinite(p_value)], table.columns["next_frozen_p"][members]
    frozen = frozen[np.isfinite(frozen)]
    persist = int((p_value < LEVEL).sum())
    return found | {
        "measured": len(p_value),
        "persist": persist,
        "persist_share": persist / len(p_value) if len(p_value) else None,
        "persist_frozen_share": float((frozen < LEVEL).mean()) if len(frozen) else None,
    }


def _ranked(table: PairTable, chosen: Picks) -> list[int]:
    """Rows of the picks, the smallest q first."""
    rows = np.flatnonzero(chosen.picked)
    return [int(row) for row in rows[np.lexsort((table.columns["p_min"][rows], table.columns["q_min"][rows]))]]


def _chosen(table: PairTable, universe: Universe, row: int) -> dict[str, Any]:
    columns = table.columns
    a, b = table.best_pairs()[row].tolist()
    following = float(columns["next_p"][row]) if "next_p" in columns else float("nan")
    return {
        "pair": f"{universe.symbols[a]}-{universe.symbols[b]}",
        "p_value": float(columns["p_min"][row]),
        "q_value": float(columns["q_min"][row]),
        "half_life_bars": float(table.best("half_life_bars")[row]),
        "correlation": float(columns["correlation_returns"][row]),
        "beta": float(table.best("beta_ols")[row]),
        "next_p": following if np.isfinite(following) else None,
    }
