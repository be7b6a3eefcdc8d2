"""The report of a volatility protocol: report.json for programs, report.md for readers, report.png to look at, all from one result.

JSON: {"protocol", "data_digest", "n_test", "models": {model: {"qlike", "mse", "mae", "r2", "dm_t_vs_<baseline>", "mcs_p", ...}}, ...}.
It holds no NaN and no infinity: what is not defined is null and named in "undefined"; the baseline's own dm_t is null.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from tandem.domain.errors import BadSetting, InvariantBroken
from tandem.quant.confidence_set import REPS
from tandem.quant.scores import VARIANCE_FLOOR
from tandem.research.figure import save_figure
from tandem.research.records import ProtocolResult
from tandem.research.scoring import SET_SEED, Row, Scores, score

SET_SIZE = 0.10  # the 90 % confidence set


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFiles:
    """Where a report's parts were written."""

    document: Path
    markdown: Path
    figure: Path
    summary: str  # the headline table, for a terminal


def check_target(out: Path) -> None:
    """Raises BadSetting unless a report can be written to `out`: *.json in a folder that can be made."""
    if out.suffix != ".json":
        raise BadSetting(f"--out {out}: must end in .json; the table and the figure go beside it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadSetting(f"--out {out}: {error.strerror or error}") from error


def write_report(result: ProtocolResult, out: Path) -> ReportFiles:
    """Score a result and write its three files: `out` and beside it the same name with .md and .png. Raises BadSetting unless *.json."""
    check_target(out)
    found = score(result)
    content = document(result, found)
    files = ReportFiles(
        document=out, markdown=out.with_suffix(".md"), figure=out.with_suffix(".png"), summary=_summary(result, found.pooled)
    )
    files.document.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY) + b"\n")
    files.markdown.write_text(markdown(result, found))
    save_figure(result, found, files.figure)
    return files


def document(result: ProtocolResult, found: Scores) -> dict[str, object]:
    """The JSON document. Raises InvariantBroken when a number is not finite: orjson would write it as null without a word."""
    content: dict[str, object] = {
        "protocol": result.protocol,
        "data_digest": result.data_digest,
        "n_test": len(result.dates),
        "models": found.pooled,
        "test_from": result.dates[0],
        "test_to": result.dates[-1],
        "scale": "volatility" if result.volatility_scale else "variance",
        "baseline": result.baseline,
        "horizon": result.horizon,
        "pooled_series": list(result.headline),
        "confidence_set": {
            "loss": "qlike",
            "size": SET_SIZE,
            "block": result.block,
            "reps": REPS,
            "seed": SET_SEED,
            "models": in_set(found.pooled),
        },
        "qlike_floor": VARIANCE_FLOOR,
        "settings": dict(result.settings),
        "notes": list(result.notes),
        "undefined": found.undefined,
    }
    if len(result.realised) > 1:
        content["series"] = found.series
    if found.groups:
        content["groups"] = found.groups
    _finite(content, "report")
    return content


def in_set(table: Mapping[str, Row]) -> list[str]:
    """Models of the 90 % confidence set."""
    return [model for model, row in table.items() if isinstance(p := row["mcs_p"], float) and p > SET_SIZE]


def markdown(result: ProtocolResult, found: Scores) -> str:
    """The same for readers: the pooled table, one table per series, tails, what was run."""
    lines = [
        f"# Volatility, protocol {result.protocol}",
        "",
        f"{len(result.dates)} test labels, {result.dates[0]} to {result.dates[-1]}; target spans {result.horizon}; "
        f"{'volatilities' if result.volatility_scale else 'variances'}; data sha256 `{result.data_digest}`.",
        "",
        f"QLIKE (of the variance) ranks; DM is Diebold-Mariano's t on QLIKE against `{result.baseline}` (HAC, small-sample corrected), "
        f"below 0 is better than it; MCS p above {SET_SIZE:.2f} is in the 90 % model confidence set "
        f"(block {result.block}, {REPS:,} resamples).",
        "",
    ]
    if len(result.realised) > 1:
        lines += [f"## Mean over {', '.join(result.headline)}", ""]
    lines += _table(result, found.pooled)
    for name, table in found.groups.items():
        lines += ["", f"## Mean over {name}: {', '.join(result.groups[name])}", "", *_table(result, table)]
    if len(result.realised) > 1:
        for name, table in found.series.items():
            lines += ["", f"## {name}", "", *_table(result, table)]
    lines += _tail_tables(found.series)
    lines += ["", "## What was run", "", *(f"- {key}: {value}" for key, value in result.settings.items())]
    lines += [f"- {note}" for note in (*result.notes, *found.undefined)]
    return "\n".join(lines) + "\n"


def _table(result: ProtocolResult, table: Mapping[str, Row]) -> list[str]:
    seeded = any("mse_seed_mean" in row for row in table.values())
    columns = [
        "model",
        "QLIKE",
        "MSE",
        "MAE",
        "R2",
        "DM t",
        "p",
        "MCS p",
        *(["MSE over seeds", "MAE over seeds"] if seeded else []),
        "CPU s",
    ]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for model in sorted(table, key=lambda name: _number(table[name]["qlike"])):
        row = table[model]
        cells = [f"**{model}**" if model in in_set(table) else model]
        cells += [_text(row["qlike"]), _text(row["mse"]), _text(row["mae"]), _text(row["r2"], 3)]
        cells += [_text(row[f"dm_t_vs_{result.baseline}"], 2), _text(row["dm_p"], 3), _text(row["mcs_p"], 3)]
        if seeded:
            cells += [_spread(row, "mse"), _spread(row, "mae")]
        lines.append("| " + " | ".join([*cells, _text(row.get("cpu_seconds"), 1)]) + " |")
    return lines


def _summary(result: ProtocolResult, table: Mapping[str, Row]) -> str:
    """The table in columns: model, QLIKE, MSE, R2, DM t, MCS p; * in the 90 % set."""
    width = max(map(len, table)) + 2
    lines = [f"{'model':<{width}}{'QLIKE':>9}{'MSE':>10}{'R2':>8}{'DM t':>8}{'MCS p':>8}"]
    for model in sorted(table, key=lambda name: _number(table[name]["qlike"])):
        row, mark = table[model], "*" if model in in_set(table) else ""
        lines.append(
            f"{model + mark:<{width}}{_text(row['qlike']):>9}{_text(row['mse']):>10}{_text(row['r2'], 3):>8}"
            f"{_text(row[f'dm_t_vs_{result.baseline}'], 2):>8}{_text(row['mcs_p'], 3):>8}"
        )
    return "\n".join(lines)


def _tail_tables(series: Mapping[str, Mapping[str, Row]]) -> list[str]:
    rows = []
    for name, table in series.items():
        for model, row in table.items():
            tails = row.get("tails")
            for level, tail in tails.items() if isinstance(tails, dict) else ():
                cells = [name, model, level, f"{tail['hits']} / {tail['expected']:.1f}"]
                cells += [_text(tail[f"{test}_p"], 3) for test in ("kupiec", "christoffersen", "conditional_coverage", "dynamic_quantile")]
                rows.append([*cells, _text(tail["pinball"]), _text(tail.get("acerbi_szekely_z2"), 2)])
    if not rows:
        return []
    columns = ("series", "model", "level", "hits / expected", "Kupiec p", "independence p", "conditional p", "DQ p", "pinball", "ES Z2")
    head = ["", "## Tails", "", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return head + ["| " + " | ".join(cells) + " |" for cells in rows]


def _spread(row: Row, label: str) -> str:
    if f"{label}_seed_mean" not in row:
        return ""
    seeds = row["seeds"]
    count = len(seeds) if isinstance(seeds, Sequence) else 0
    return f"{_text(row[f'{label}_seed_mean'])} ± {_text(row[f'{label}_seed_sd'])} ({count})"


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.inf


def _text(value: object, digits: int = 4) -> str:
    if not isinstance(value, int | float):
        return "-"
    # Variances of a spread are millionths: rounded to digits they would all be 0.
    return f"{value:.2e}" if 0 < abs(value) < 10.0**-digits else f"{value:.{digits}f}"


def _finite(value: object, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise InvariantBroken(f"{where} is {value}, a report holds finite numbers only")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _finite(inner, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            _finite(inner, f"{where}[{place}]")
