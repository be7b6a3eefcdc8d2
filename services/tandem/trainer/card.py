"""The model card: what a bundle is, in Markdown, for whoever opens the version in the registry. Content of the bundle only.

`model_summary` is its first part, short enough for the registry's description of a version; the figures are trainer/card_figures.py's.
"""

from collections.abc import Iterable, Mapping

from tandem.domain.units import utc
from tandem.quant.bundle import Bundle, PairModel, model_name

_BASELINES = {"garch": "own GARCH", "gjr": "GJR", "har": "HAR", "ewma": "EWMA"}


def model_card(bundle: Bundle, figures: Mapping[str, str] | None = None) -> str:
    """The card of a bundle. figures: file -> title of pictures that lie beside the card, in their order."""
    drawn = [f"![{title}]({file})" for file, title in (figures or {}).items()]
    lines = [
        model_summary(bundle),
        *(line for image in drawn for line in (image, "")),
        *_folds(bundle),
        *_pairs(bundle),
        *_volatility(bundle.pairs),
        *_screening(bundle),
        *_rejections(bundle),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def model_summary(bundle: Bundle) -> str:
    """What the model is, its scores beside what they are held against, and a verdict."""
    lines = [
        f"# {model_name(bundle.sector)}",
        "",
        f"GARCH-GRU for the spreads of {len(bundle.pairs)} pair(s) of the sector `{bundle.sector}`, bars of {bundle.bar}. "
        f"Digest `{bundle.digest}`.",
        "",
        f"- Training span {_day(bundle.trained_from_ns)} to {_day(bundle.trained_to_ns)}; data sha256 `{bundle.data_digest}`; "
        f"seed {bundle.seed}; trial {bundle.trial} of {bundle.trials}.",
        "- Variance: that of each pair's AR(1) innovations by the model named below, times exp("
        f"{bundle.calibration.shrink:.3f} x correction of the network: {bundle.members} GRU(s), cell `{bundle.cell}`).",
        f"- Reversion: probability that the spread goes back by more than its cost ({bundle.cost_bps:g} bp per side and leg) within "
        f"{bundle.horizon_bars} bars, counted from the next bar.",
        "",
        "## Scores",
        "",
        *(_scores(bundle) if "holdout_windows" in bundle.metrics else ["This version was not scored."]),
        "",
    ]
    return "\n".join(lines)


def verdict(bundle: Bundle) -> str:
    """One sentence on the variance, which is what the hybrid is for."""
    statistic, p_value = bundle.metrics["holdout_dm_statistic"], bundle.metrics["holdout_dm_p_value"]
    if p_value >= 0.05:
        return "On these test parts the hybrid and plain GARCH cannot be told apart (5 % level)."
    better, worse = ("the hybrid", "plain GARCH") if statistic < 0 else ("plain GARCH", "the hybrid")
    return f"On these test parts {better} forecasts the variance better than {worse} (5 % level)."


def _scores(bundle: Bundle) -> list[str]:
    metrics, rule = bundle.metrics, bundle.thresholds
    return [
        f"Of {metrics['holdout_folds']:.0f} test parts from {_day(bundle.holdout_from_ns)} on, {metrics['holdout_windows']:.0f} forecasts, "
        "each by a model fitted wholly before its part (pairs, parameters, scaler, stopping and calibration). The bundle itself was then "
        "fitted on the whole span.",
        "",
        "| variance of the next bar | QLIKE | MSE, unit scale | DM of the hybrid against it (p) | in the confidence set, p |",
        "|---|---|---|---|---|",
        *_variance_rows(metrics),
        "",
        "DM below 0: the hybrid is better (QLIKE, Newey-West, Harvey-Leybourne-Newbold).",
        "",
        "| reversion | Brier | MCC above the base rate | AUC | F1 above the base rate |",
        "|---|---|---|---|---|",
        *_reversion_rows(metrics),
        "",
        f"| profit after costs of a next-bar rule (in at abs(z) = {rule.entry_z:g}, out at {rule.exit_z:g}) | bp a bar | entries | "
        "Sharpe a bar | deflated Sharpe |",
        "|---|---|---|---|---|",
        *_profit_rows(bundle),
        "",
        f"The deflated Sharpe ratio is the probability that the true one is above what the best of {bundle.trials} tries without skill "
        "would show.",
        "",
        verdict(bundle),
    ]


def _variance_rows(metrics: Mapping[str, float]) -> Iterable[str]:
    for model, label in ({"hybrid": "hybrid"} | _BASELINES).items():
        if f"holdout_qlike_{model}" not in metrics:
            continue
        suffix = "" if model == "garch" else f"_{model}"
        test = "-"
        if model != "hybrid":
            test = f"{metrics[f'holdout_dm_statistic{suffix}']:.2f} ({metrics[f'holdout_dm_p_value{suffix}']:.3f})"
        numbers = f"{metrics[f'holdout_qlike_{model}']:.4f} | {metrics[f'holdout_mse_{model}']:.3f}"
        yield f"| {label} | {numbers} | {test} | {metrics[f'holdout_mcs_p_{model}']:.3f} |"


def _reversion_rows(metrics: Mapping[str, float]) -> Iterable[str]:
    names = ("brier", "mcc_above_base_rate", "auc", "f1_above_base_rate")
    for label, suffix in (("hybrid", ""), ("AR(1) alone", "_ar1")):
        yield f"| {label} | " + " | ".join(_number(metrics.get(f"holdout_{name}{suffix}")) for name in names) + " |"
    yield f"| base rate before the test part | {metrics['holdout_brier_base_rate']:.4f} | 0 | 0.5 | - |"
    rate = metrics["holdout_reversion_rate"]
    yield f"| always-1 (reversions: {rate:.1%}) | {1 - rate:.4f} | 0 | 0.5 | {metrics['holdout_f1_always_1']:.4f} |"


def _profit_rows(bundle: Bundle) -> Iterable[str]:
    metrics = bundle.metrics
    labels = {"": f"where the reversion is at least {bundle.thresholds.probability_min:g} probable", "_always_1": "always"}
    for suffix, label in labels.items():
        profit, entries = metrics[f"holdout_profit_bps_per_bar{suffix}"], metrics[f"holdout_entries{suffix}"]
        sharpe = (_number(metrics.get(f"holdout_{name}{suffix}")) for name in ("sharpe_per_bar", "deflated_sharpe"))
        yield f"| {label} | {profit:.3f} | {entries:.0f} | {' | '.join(sharpe)} |"


def _folds(bundle: Bundle) -> list[str]:
    if not bundle.folds:
        return []
    lines = ["## Walk-forward", "", "| fold | fitted up to | tested | forecasts | pairs, chosen before | QLIKE hybrid, own GARCH |"]
    lines.append("|---|---|---|---|---|---|")
    for number, fold in enumerate(bundle.folds, start=1):
        found = [bundle.metrics.get(f"fold_{number}_qlike_{model}") for model in ("hybrid", "garch")]
        score = fold.skipped or ", ".join(map(_number, found))
        span = f"{_day(fold.tested_from_ns)} to {_day(fold.tested_to_ns)}"
        lines.append(f"| {number} | {_day(fold.trained_to_ns)} | {span} | {fold.windows} | {', '.join(fold.pairs) or '-'} | {score} |")
    return [*lines, ""]


def _pairs(bundle: Bundle) -> list[str]:
    declared = {test.pair for test in bundle.tests if test.declared}
    lines = ["## Pairs", "", "| pair | beta | half-life, bars | variance model | persistence | nu | why |", "|---|---|---|---|---|---|---|"]
    for p in bundle.pairs:
        why = "declared" if p.pair in declared else "screened"
        tail = "-" if p.volatility.nu is None else f"{p.volatility.nu:.1f}"
        model = f"{p.volatility.kind}, {p.volatility.shocks}"
        lines.append(f"| {p.pair} | {p.beta:.3f} | {p.half_life_bars:.1f} | {model} | {p.volatility.persistence:.3f} | {tail} | {why} |")
    return [*lines, ""]


def _volatility(pairs: Iterable[PairModel]) -> list[str]:
    """Every variance model that was tried."""
    rows = [
        f"| {p.pair} | {c.kind}, {c.shocks} | {_number(c.bic, 1)} | {_number(c.log_likelihood, 1)} | {c.rejected or 'yes'} |"
        for p in pairs
        for c in p.candidates
    ]
    if not rows:
        return []
    return ["## Variance models tried", "", "| pair | model | BIC | log likelihood | converged |", "|---|---|---|---|---|", *rows, ""]


def _screening(bundle: Bundle) -> list[str]:
    """Every test that was made: a reader must be able to count them."""
    lines = [
        "## Screening",
        "",
        f"Engle-Granger in both directions on {len(bundle.tests)} pairs, Benjamini-Hochberg over all {2 * len(bundle.tests)} tests; "
        "beside it Johansen's trace with its 5 % critical value, the Hurst exponent of the spread and the correlation of returns.",
        "",
        "| pair | p | p reversed | q | trace (critical) | Hurst | correlation | passed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for t in sorted(bundle.tests, key=lambda test: (test.q_value, test.pair)):
        trace = "-" if t.johansen_trace is None else f"{t.johansen_trace:.1f} ({_number(t.johansen_critical, 1)})"
        tests = (
            f"{t.p_value:.4f} | {t.p_value_reverse:.4f} | {t.q_value:.4f} | {trace} | {_number(t.hurst, 2)} | {_number(t.correlation, 2)}"
        )
        lines.append(f"| {t.pair} | {tests} | {'yes' if t.passed else 'no'} |")
    return [*lines, ""]


def _rejections(bundle: Bundle) -> list[str]:
    lines = [f"- {r.symbol}: {r.reason}: {r.detail}" for r in bundle.rejected_symbols]
    lines += [f"- {r.pair}: {r.reason}: {r.detail}" for r in bundle.rejections]
    return ["## Rejected", "", *lines, ""] if lines else []


def _number(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _day(ns: int) -> str:
    return f"{utc(ns):%Y-%m-%d}"
