"""`tandem models`: what was trained, how versions rank and move, how steady their data were, and what rebaselining decided. Reads only."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

import typer

from tandem.adapters.decision_log import DecisionLog
from tandem.adapters.model_history import RANKED_BARS_MIN, ModelHistory
from tandem.cli.output import print_json, print_table, remark
from tandem.cli.running import Home, postgres_url, settings_of
from tandem.cli.symbols import Json
from tandem.domain.errors import BadSetting
from tandem.domain.units import utc

app = typer.Typer(no_args_is_help=True, help="Models: rankings, trends, training history, variance stability, decisions.")

Row = dict[str, Any]
Columns = Mapping[str, Callable[[Row], str]]  # title: what it shows of a row; titles of numbers end with a blank
Sector = Annotated[str, typer.Option(help="Only this sector.")]
Day = Annotated[str, typer.Option(help="As of this day, YYYY-MM-DD; default: the newest.")]
_LIMIT = 30


@app.command()
def rankings(sector: Sector = "", day: Day = "", home: Home = None, json: Json = False) -> None:
    """Versions and pairs by their recent out-of-sample QLIKE against their own GARCH, best first."""
    rows = _history(home).rankings(sector=sector, day=_day(day))
    hint = (
        f"no rankings: they need at least {RANKED_BARS_MIN} scored forecasts of a pair, which the recorder writes while `tandem up` runs; "
        "`tandem rebaseline` computes them"
    )
    _show(rows, _RANKINGS, hint, json=json)


@app.command()
def trends(sector: Sector = "", day: Day = "", home: Home = None, json: Json = False) -> None:
    """The last 7 sessions against the last 30, for each version and pair."""
    hint = "no trends: they need scored forecasts, which the recorder writes while `tandem up` runs; `tandem rebaseline` computes them"
    _show(_history(home).trends(sector=sector, day=_day(day)), _TRENDS, hint, json=json)


@app.command()
def history(
    sector: Sector = "",
    pair: Annotated[str, typer.Option(help="Trainings that hold this pair, with its fitted numbers.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, the newest.")] = _LIMIT,
    home: Home = None,
    json: Json = False,
) -> None:
    """Trainings with the scores of their hold-out, newest first."""
    rows = _history(home).history(sector=sector, pair=pair.upper(), limit=limit)
    hint = "no trainings: `tandem train` and `tandem rebaseline` record theirs where TANDEM_POSTGRES_URL is set"
    _show(rows, _PAIR_HISTORY if pair else _HISTORY, hint, json=json)


@app.command()
def stability(sector: Sector = "", home: Home = None, json: Json = False) -> None:
    """Diagnostics of the variance on the newest training span of each series. They describe; nothing is filtered by them."""
    hint = "no diagnostics: `tandem train` and `tandem rebaseline` record them where TANDEM_POSTGRES_URL is set"
    _show(_history(home).stability(sector=sector), _STABILITY, hint, json=json)


@app.command()
def decisions(
    sector: Sector = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, the newest.")] = _LIMIT,
    home: Home = None,
    json: Json = False,
) -> None:
    """What each pre-market run decided and why, newest first."""
    rows = DecisionLog(postgres_url(settings_of(home))).recent(sector=sector, limit=limit)
    _show(rows, _DECISIONS, "no decisions: `tandem rebaseline` makes one for each sector and day", json=json)


def _history(home: Any) -> ModelHistory:
    return ModelHistory(postgres_url(settings_of(home)))


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise BadSetting(f"--day {text!r}: expected YYYY-MM-DD") from error


def _show(rows: Sequence[Row], columns: Columns, hint: str, *, json: bool) -> None:
    if json:
        print_json([{name: _plain(value) for name, value in row.items()} for row in rows])
    elif rows:
        titles = [title.strip() for title in columns]
        right = [title.strip() for title in columns if title.endswith(" ")]
        print_table(titles, [[of(row) for of in columns.values()] for row in rows], right=right)
    else:
        remark(hint)


def _plain(value: Any) -> Any:
    """A value of a row as JSON holds it; NaN cannot be in the tables."""
    if isinstance(value, Decimal):
        return str(value)
    return value.isoformat() if isinstance(value, date | datetime) else value


def _number(name: str, places: int = 3) -> Callable[[Row], str]:
    def of(row: Row) -> str:
        value = row[name]
        return "-" if value is None else f"{value:.{places}f}"

    return of


def _text(name: str) -> Callable[[Row], str]:
    return lambda row: "-" if row[name] in (None, "") else str(row[name])


def _stream(row: Row) -> str:
    """Source, with the replay's or the file's id, shortened."""
    name: str = row["replay_id"] if "replay_id" in row else row["origin"]
    return f"{row['source']} {name[:12]}".strip()


def _date(name: str) -> Callable[[Row], str]:
    return lambda row: "-" if row[name] is None else f"{utc(row[name]):%Y-%m-%d}"


_WHO: Columns = {"sector": _text("sector"), "pair": _text("pair"), "version": _text("model_version"), "from": _stream}
_RANKINGS: Columns = {
    "rank ": _text("rank_position"),
    **_WHO,
    "bar": _text("timeframe"),
    "QLIKE / GARCH's ": _number("qlike_ratio"),
    "QLIKE ": _number("qlike"),
    "Brier ": _number("brier"),
    "base rate's ": _number("brier_base_rate"),
    "P&L, USD ": _text("pnl_usd"),
    "trades ": _text("trades"),
    "bars ": _text("bars"),
    "sessions ": _text("sessions"),
}
_TRENDS: Columns = {
    **_WHO,
    "bar": _text("timeframe"),
    "7 sessions ": _number("qlike_ratio_7"),
    "30 sessions ": _number("qlike_ratio_30"),
    "best session ": _number("best_session_ratio_30"),
    "direction": _text("direction"),
    "versions ": _text("versions_30"),
}
_HISTORY: Columns = {
    "sector": _text("sector"),
    "version": _text("model_version"),
    "from": _stream,
    "bar": _text("timeframe"),
    "trained to": _date("trained_to_ns"),
    "QLIKE ": _number("qlike"),
    "GARCH's ": _number("garch_qlike"),
    "DM ": _number("dm_statistic", 2),
    "p ": _number("dm_p_value"),
    "Brier ": _number("brier"),
    "base rate's ": _number("brier_base_rate"),
    "MCC ": _number("mcc"),
    "F1 ": _number("f1"),
    "always-1's ": _number("f1_always_1"),
    "trial": lambda row: f"{row['trial']} of {row['trials']}",
    "digest": lambda row: row["model_digest"][:12],
}
_PAIR_HISTORY: Columns = {
    "sector": _text("sector"),
    "version": _text("model_version"),
    "from": _stream,
    "bar": _text("timeframe"),
    "trained to": _date("trained_to_ns"),
    "beta ": lambda row: f"{row['metrics']['beta']:.3f}",
    "half-life, bars ": lambda row: f"{row['metrics']['half_life_bars']:.1f}",
    "volatility": lambda row: f"{row['metrics']['volatility_kind']} {row['metrics']['volatility_shocks']}",
    "persistence ": lambda row: f"{row['metrics']['volatility_persistence']:.3f}",
    "bars ": lambda row: str(row["metrics"]["bars"]),
    "digest": lambda row: row["model_digest"][:12],
}
_STABILITY: Columns = {
    "sector": _text("sector"),
    "series": lambda row: f"{row['subject']} {row['series'].replace('_', ' ')}",
    "version": _text("model_version"),
    "from": _stream,
    "bar": _text("timeframe"),
    "to": _date("to_ns"),
    "values ": _text("record_count"),
    "verdict": _text("verdict"),
    "found": lambda row: ", ".join(row["findings"]).replace("_", " ") or row["reason"] or "-",
    "ARCH-LM p ": _number("arch_p_value"),
    "sigma CV ": _number("rolling_sigma_cv"),
    "least Ljung-Box p ": _number("ljung_box_p_min"),
    "volatility a year ": _number("volatility_annualised"),
}
_DECISIONS: Columns = {
    "day": _text("session_day"),
    "sector": _text("sector"),
    "bar": _text("timeframe"),
    "data": _text("source"),
    "attempt ": _text("attempt"),
    "outcome": _text("outcome"),
    "candidate": _text("model_version"),
    "champion": _text("champion_version"),
    "trained to": _date("trained_to_ns"),
    "reason": _text("reason"),
}
