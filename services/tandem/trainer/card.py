"""The model card: what a bundle is, in Markdown, for whoever opens the version in the registry. Content of the bundle only."""

from tandem.domain.units import utc
from tandem.quant.bundle import Bundle, model_name


def model_card(bundle: Bundle) -> str:
    """The card of a bundle."""
    metrics = bundle.metrics
    lines = [
        f"# {model_name(bundle.sector)}",
        "",
        f"GARCH-GRU for the spreads of {len(bundle.pairs)} pair(s) of the sector `{bundle.sector}`, bars of {bundle.bar}. "
        f"Digest `{bundle.digest}`.",
        "",
        f"- Training span {_day(bundle.trained_from_ns)} to {_day(bundle.trained_to_ns)}; data sha256 `{bundle.data_digest}`; "
        f"seed {bundle.seed}.",
        f"- Variance: AR(1) + GARCH(1,1) with Student-t innovations, times exp({bundle.calibration.shrink:.3f} x correction of the GRU).",
        f"- Reversion: probability that the spread goes back by more than its cost ({bundle.cost_bps:g} bp per side and leg) within "
        f"{bundle.horizon_bars} bars, counted from the next bar.",
        "",
        "## Scores",
        "",
        f"On the hold-out, the last part of the training span from {_day(bundle.holdout_from_ns)}, by a model fitted wholly before it"
        + (", which was then fitted again on the whole span." if bundle.settings.get("refit") else "."),
        "",
        "| score | value | to compare with |",
        "|---|---|---|",
        f"| QLIKE of the variance | {metrics['holdout_qlike_hybrid']:.4f} | plain GARCH {metrics['holdout_qlike_garch']:.4f} |",
        f"| Diebold-Mariano against GARCH | {metrics['holdout_dm_statistic']:.2f} | p = {metrics['holdout_dm_p_value']:.3f}; "
        "below 0 the hybrid is better |",
        f"| Brier of the reversion | {metrics['holdout_brier']:.4f} | constant base rate {metrics['holdout_brier_base_rate']:.4f} |",
        f"| MCC above the base rate | {metrics['holdout_mcc_above_base_rate']:.3f} | always-1: 0 |",
        f"| F1 above the base rate | {metrics['holdout_f1_above_base_rate']:.3f} | always-1: {metrics['holdout_f1_always_1']:.3f} |",
    ]
    if "holdout_auc" in metrics:
        lines.append(f"| AUC of the reversion | {metrics['holdout_auc']:.3f} | no skill: 0.5 |")
    lines += ["", verdict(bundle), "", *_pairs(bundle), *_screening(bundle), *_rejections(bundle)]
    return "\n".join(lines) + "\n"


def verdict(bundle: Bundle) -> str:
    """One sentence on the variance, which is what the hybrid is for."""
    statistic, p_value = bundle.metrics["holdout_dm_statistic"], bundle.metrics["holdout_dm_p_value"]
    if p_value >= 0.05:
        return "On this hold-out the hybrid and plain GARCH cannot be told apart (5 % level)."
    better, worse = ("the hybrid", "plain GARCH") if statistic < 0 else ("plain GARCH", "the hybrid")
    return f"On this hold-out {better} forecasts the variance better than {worse} (5 % level)."


def _pairs(bundle: Bundle) -> list[str]:
    declared = {test.pair for test in bundle.tests if test.declared}
    lines = ["## Pairs", "", "| pair | beta | half-life, bars | persistence | nu | why |", "|---|---|---|---|---|---|"]
    for p in bundle.pairs:
        why = "declared" if p.pair in declared else "screened"
        tail = "-" if p.volatility.nu is None else f"{p.volatility.nu:.1f}"
        lines.append(f"| {p.pair} | {p.beta:.3f} | {p.half_life_bars:.1f} | {p.volatility.persistence:.3f} | {tail} | {why} |")
    return [*lines, ""]


def _screening(bundle: Bundle) -> list[str]:
    """Every test that was made: a reader must be able to count them."""
    lines = [
        "## Screening",
        "",
        f"Engle-Granger in both directions on {len(bundle.tests)} pairs, Benjamini-Hochberg over all {2 * len(bundle.tests)} tests.",
        "",
        "| pair | p | p reversed | q | passed |",
        "|---|---|---|---|---|",
    ]
    rows = sorted(bundle.tests, key=lambda test: (test.q_value, test.pair))
    lines += [f"| {t.pair} | {t.p_value:.4f} | {t.p_value_reverse:.4f} | {t.q_value:.4f} | {'yes' if t.passed else 'no'} |" for t in rows]
    return [*lines, ""]


def _rejections(bundle: Bundle) -> list[str]:
    if not bundle.rejections:
        return []
    return ["## Rejected", "", *(f"- {r.pair}: {r.reason}: {r.detail}" for r in bundle.rejections), ""]


def _day(ns: int) -> str:
    return f"{utc(ns):%Y-%m-%d}"
