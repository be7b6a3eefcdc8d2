"""Scores of a protocol's forecasts: losses, tests against the baseline, confidence set and tails, per series and pooled, as plain numbers.

Every test is made on QLIKE of the variance, whatever scale the forecasts have: a loss on volatilities does not rank them as the true
variance would (Patton 2011); MSE, MAE and R2 are in the forecasts' own scale. What is not defined is None, with its reason in `undefined`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tandem.quant import coverage, scores
from tandem.quant.confidence_set import confidence_set
from tandem.research.records import ProtocolResult, TailForecast

Vector = NDArray[np.float64]
Row = dict[str, object]

SET_SEED = 20260101
_TEST_LABELS_MIN = 10  # as Diebold-Mariano and the confidence set ask for


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """Tables of one result: model -> name of a score -> value."""

    pooled: dict[str, Row]  # over the headline series
    series: dict[str, dict[str, Row]]
    groups: dict[str, dict[str, Row]] = field(default_factory=dict)  # over the series of each group
    undefined: list[str] = field(default_factory=list)  # why a score is None


def score(result: ProtocolResult) -> Scores:
    """All scores of a result. Pooled losses are means over the headline series of each day, so that a common shock counts once."""
    undefined: list[str] = []
    series = {name: _table(result, (name,), undefined) for name in result.realised}
    pooled = series[result.headline[0]] if len(result.headline) == 1 else _table(result, result.headline, undefined)
    groups = {
        name: series[members[0]] if len(members) == 1 else _table(result, members, undefined) for name, members in result.groups.items()
    }
    return Scores(pooled=pooled, series=series, groups=groups, undefined=undefined)


def qlike_losses(result: ProtocolResult, series: tuple[str, ...]) -> dict[str, Vector]:
    """Model -> (n,) QLIKE of each day, mean over the series. QLIKE does not depend on a series' unit."""
    return {
        model: np.mean([_qlike(result, result.realised[name], result.forecasts[name][model]) for name in series], axis=0)
        for model in result.models
    }


def _qlike(result: ProtocolResult, realised: Vector, forecast: Vector) -> Vector:
    if result.volatility_scale:
        realised, forecast = realised**2, forecast**2
    return scores.qlike(realised, forecast)


def _table(result: ProtocolResult, series: tuple[str, ...], undefined: list[str]) -> dict[str, Row]:
    losses = qlike_losses(result, series)
    in_set = _confidence(result, losses, series, undefined)
    table: dict[str, Row] = {}
    for model in result.models:
        table[model] = (
            {"qlike": float(losses[model].mean())}
            | _errors(result, series, model, undefined)
            | _against_baseline(result, series, model, losses)
            | {"mcs_p": in_set.get(model)}
            | _nested(result, series, model)
            | _over_seeds(result, series, model)
            | _tails(result, series, model)
        )
        if model in result.cpu_seconds:
            table[model]["cpu_seconds"] = result.cpu_seconds[model]
    return table


def _confidence(result: ProtocolResult, losses: dict[str, Vector], series: tuple[str, ...], undefined: list[str]) -> dict[str, float]:
    if len(result.dates) < _TEST_LABELS_MIN:
        undefined.append(f"{', '.join(series)}: {len(result.dates)} labels, tests need at least {_TEST_LABELS_MIN}")
        return {}
    return confidence_set(losses, block=result.block, seed=SET_SEED)


def _errors(result: ProtocolResult, series: tuple[str, ...], model: str, undefined: list[str]) -> Row:
    """MSE, MAE and R2; R2 is 1 - SSE / SST with SST about each series' own mean over the test days."""
    pairs = [(result.realised[name], result.forecasts[name][model]) for name in series]
    total = sum(float(np.sum((realised - realised.mean()) ** 2)) for realised, _ in pairs)
    squared = sum(float(np.sum((realised - forecast) ** 2)) for realised, forecast in pairs)
    if total == 0 and model == result.baseline:
        undefined.append(f"{', '.join(series)}: r2 of a realised series that does not move")
    return {
        "mse": float(np.mean([scores.mse(*pair) for pair in pairs])),
        "mae": float(np.mean([scores.mae(*pair) for pair in pairs])),
        "r2": 1 - squared / total if total > 0 else None,
    }


def _lags(result: ProtocolResult, series: tuple[str, ...]) -> tuple[int, int]:
    """Horizon and lags: what the overlap of the targets asks for, at least the usual bandwidth."""
    horizon = min(max(map(result.horizon_of, series)), len(result.dates))
    return horizon, max(horizon - 1, scores.newey_west_lags(len(result.dates)))


def _against_baseline(result: ProtocolResult, series: tuple[str, ...], model: str, losses: dict[str, Vector]) -> Row:
    key = f"dm_t_vs_{result.baseline}"
    if model == result.baseline or len(result.dates) < _TEST_LABELS_MIN:
        return {key: None, "dm_p": None}  # the baseline against itself is no test
    horizon, lags = _lags(result, series)
    test = scores.diebold_mariano(losses[model], losses[result.baseline], horizon=horizon, lags=lags)
    return {key: test.statistic, "dm_p": test.p_value}


def _nested(result: ProtocolResult, series: tuple[str, ...], model: str) -> Row:
    """Clark-West against the smaller model inside this one; of a single series, because it is a test on squared errors."""
    if model not in result.nested or len(series) > 1 or len(result.dates) < _TEST_LABELS_MIN:
        return {}
    (name,) = series
    smaller = result.nested[model]
    test = scores.clark_west(
        result.realised[name], result.forecasts[name][smaller], result.forecasts[name][model], lags=_lags(result, series)[1]
    )
    return {f"clark_west_t_vs_{smaller}": test.statistic, "clark_west_p": test.p_value}


def _over_seeds(result: ProtocolResult, series: tuple[str, ...], model: str) -> Row:
    """Mean and standard deviation over the seeds of each seed's own score; the table's other numbers are of the seeds' mean forecast."""
    if model not in result.seeds:
        return {}
    row: Row = {"seeds": list(result.seeds[model])}
    matrices = [result.members.get(name, {}).get(model) for name in series]
    if any(matrix is None for matrix in matrices):
        return row
    for label in ("qlike", "mse", "mae"):
        each = []
        for seed in range(len(result.seeds[model])):
            each.append(
                np.mean([_member_loss(result, name, m[seed], label) for name, m in zip(series, matrices, strict=True) if m is not None])
            )
        row[f"{label}_seed_mean"] = float(np.mean(each))
        row[f"{label}_seed_sd"] = float(np.std(each, ddof=1)) if len(each) > 1 else None
    return row


def _member_loss(result: ProtocolResult, series: str, forecast: Vector, label: str) -> float:
    realised = result.realised[series]
    if label == "qlike":
        return float(_qlike(result, realised, forecast).mean())
    return {"mse": scores.mse, "mae": scores.mae}[label](realised, forecast)


def _tails(result: ProtocolResult, series: tuple[str, ...], model: str) -> Row:
    """Tests of the tails; kupiec_p and christoffersen_p (independence) are those of the first level. Pooled: series that fail at 5 %."""
    by_series = {name: result.tails[name][model] for name in series if model in result.tails.get(name, {})}
    if not by_series:
        return {}
    tables = [{f"{tail.level:g}": _tail(result.returns[name], tail) for tail in tails} for name, tails in by_series.items()]
    if len(series) == 1:
        first = next(iter(tables[0].values()))
        return {"kupiec_p": first["kupiec_p"], "christoffersen_p": first["christoffersen_p"], "tails": tables[0]}
    return {"tails": {level: _pooled_tail([table[level] for table in tables if level in table]) for level in tables[0]}}


def _tail(returns: Vector, tail: TailForecast) -> dict[str, float | int | None]:
    hits = coverage.hits_below(returns, tail.quantile)
    chain = coverage.christoffersen(hits, tail.level)
    row: dict[str, float | int | None] = {
        "hits": int(hits.sum()),
        "expected": tail.level * len(hits),
        "kupiec_p": coverage.kupiec(hits, tail.level).p_value,
        "christoffersen_p": chain.independence.p_value,
        "conditional_coverage_p": chain.conditional.p_value,
        "dynamic_quantile_p": None,
        "pinball": float(coverage.pinball(returns, tail.quantile, tail.level).mean()),
    }
    if len(hits) >= 2 * _TEST_LABELS_MIN:
        row["dynamic_quantile_p"] = coverage.dynamic_quantile(hits, tail.level, tail.quantile).p_value
    if tail.shortfall is not None:
        row["acerbi_szekely_z2"] = coverage.acerbi_szekely(returns, tail.quantile, tail.shortfall, tail.level)
    return row


def _pooled_tail(rows: list[dict[str, float | int | None]]) -> Mapping[str, float | int]:
    rejected = {
        f"series_rejected_{name}": sum(value is not None and value < 0.05 for value in (row[f"{name}_p"] for row in rows))
        for name in ("kupiec", "christoffersen", "conditional_coverage", "dynamic_quantile")
    }
    totals = {name: float(sum(row[name] or 0 for row in rows)) for name in ("hits", "expected")}
    return {"series": len(rows)} | totals | rejected
