"""`tandem pairs`, `orders`, `positions` and `forecast`: what the running portfolio and forecasters answer. Reads only."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import typer

from tandem.cli.http import NotThere, ask
from tandem.cli.output import print_json, print_table, remark
from tandem.cli.running import Home, forecaster_urls, portfolio_url, settings_of
from tandem.cli.symbols import Json
from tandem.domain.errors import BadRecord, Permanent
from tandem.domain.ids import pair_id, pair_legs
from tandem.domain.units import utc

Url = Annotated[str, typer.Option("--url", help="Base URL of the portfolio's API instead of the running platform's.")]
_LIMIT_MAX = 500  # what the API gives at once


def pairs(home: Home = None, url: Url = "", json: Json = False) -> None:
    """Declared pairs with their state and position."""
    _show("pairs", _base(home, url), json=json)


def orders(
    limit: Annotated[int, typer.Option(min=1, max=_LIMIT_MAX, help="At most so many, the newest.")] = 20,
    pair: Annotated[str, typer.Option(help="Only this pair's, e.g. KO-PEP.")] = "",
    home: Home = None,
    url: Url = "",
    json: Json = False,
) -> None:
    """Orders, newest first."""
    query: dict[str, Any] = {"limit": limit} | ({"pair": _pair(pair)} if pair else {})
    _show("orders", _base(home, url), query=query, json=json)


def positions(home: Home = None, url: Url = "", json: Json = False) -> None:
    """Positions of the book."""
    _show("positions", _base(home, url), json=json)


def forecast(
    pair: Annotated[str, typer.Argument(help="The pair, e.g. KO-PEP.")],
    home: Home = None,
    url: Annotated[str, typer.Option("--url", help="Base URL of one forecaster instead of all that run.")] = "",
    json: Json = False,
) -> None:
    """The current forecast of a pair, from each running model version that holds it."""
    wanted = _pair(pair)
    urls = {url: url.rstrip("/")} if url else forecaster_urls(settings_of(home))
    with ThreadPoolExecutor(max_workers=len(urls)) as pool:
        answers = dict(zip(urls, pool.map(lambda base: _forecast(base, wanted), urls.values()), strict=True))
    found = [answer for answer in answers.values() if isinstance(answer, dict)]
    if not found:
        raise Permanent("\n".join(f"{name}: {answer}" for name, answer in answers.items()))
    if json:
        print_json(found)
        return
    columns = ["pair", "sector", "version", "model", "z", "variance", "reversion probability", "half-life (bars)", "prices"]
    print_table(columns, [_forecast_cells(row) for row in found], right=columns[4:8])


def _base(home: Path | None, url: str) -> str:
    return url.rstrip("/") or portfolio_url(settings_of(home))


def _pair(text: str) -> str:
    try:
        return pair_id(*pair_legs(text.upper()))
    except ValueError as error:
        raise Permanent(str(error)) from error


def _show(what: str, base: str, *, query: dict[str, Any] | None = None, json: bool) -> None:
    """The list that the portfolio answers, as a table of its fields or as it came."""
    url = f"{base}/v1/{what}"
    rows = ask("GET", url, query=query)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadRecord("answer_malformed", f"{url} does not answer with a list of objects")
    if json:
        print_json(rows)
    elif rows:
        columns = [name for name, value in rows[0].items() if not isinstance(value, dict | list)]
        cells = [[_cell(name, row.get(name)) for name in columns] for row in rows]
        print_table([_title(name) for name in columns], cells, right=[_title(n) for n in columns if _is_number(rows[0][n])])
    else:
        remark(f"no {what}")


def _title(name: str) -> str:
    return name.removesuffix("_ns").replace("_", " ")


def _cell(name: str, value: object) -> str:
    if value is None:
        return ""
    if name.endswith("_ns") and isinstance(value, int):
        return f"{utc(value):%Y-%m-%d %H:%M:%S}" if value else ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _is_number(value: object) -> bool:
    """Also money, which comes as decimal text."""
    try:
        return not isinstance(value, bool) and Decimal(str(value)).is_finite()
    except InvalidOperation:
        return False


def _forecast(base: str, pair: str) -> dict[str, Any] | str:
    """The forecaster's answer, or why it has none for this pair."""
    try:
        answer = ask("POST", f"{base}/forecast", body={"pair": pair})
    except NotThere as error:
        return str(error)
    if not isinstance(answer, dict):
        raise BadRecord("answer_malformed", f"{base}/forecast answers with a {type(answer).__name__}, must be an object")
    return answer


def _forecast_cells(row: dict[str, Any]) -> list[str]:
    return [
        str(row["pair"]),
        str(row["sector"]),
        str(row["model"]["version"]),
        str(row["model"]["name"]),
        f"{row['z']:+.2f}",
        f"{row['variance']:.3g}",
        f"{row['reversion_probability']:.3f}",
        f"{row['half_life_bars']:.1f}",
        f"{row['leg_a']} {row['price_a']:.2f}, {row['leg_b']} {row['price_b']:.2f}",
    ]
