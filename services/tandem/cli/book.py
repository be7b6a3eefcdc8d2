"""`tandem pairs`, `orders`, `positions` and `forecast`: what the running portfolio and forecasters answer. Reads only."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from tandem.cli.http import NotThere, ask
from tandem.cli.output import print_json, print_table, remark
from tandem.cli.running import Home, forecaster_urls, portfolio_url, settings_of
from tandem.cli.symbols import Json
from tandem.domain.errors import BadRecord, Permanent
from tandem.domain.ids import pair_id, pair_legs
from tandem.domain.units import utc

Row = dict[str, Any]  # one object of the portfolio's answer; its fields: portfolio/schemas.py
Columns = Sequence["Column"]
Url = Annotated[str, typer.Option("--url", help="Base URL of the portfolio's API instead of the running platform's.")]
_LIMIT_MAX = 500  # what the API gives at once


def pairs(home: Home = None, url: Url = "", json: Json = False) -> None:
    """Declared pairs with their state and position."""
    _show("pairs", _base(home, url), _PAIRS, json=json)


def orders(
    limit: Annotated[int, typer.Option(min=1, max=_LIMIT_MAX, help="At most so many, the newest.")] = 20,
    pair: Annotated[str, typer.Option(help="Only this pair's, e.g. KO-PEP.")] = "",
    home: Home = None,
    url: Url = "",
    json: Json = False,
) -> None:
    """Orders, newest first."""
    query: dict[str, Any] = {"limit": limit} | ({"pair": _pair(pair)} if pair else {})
    _show("orders", _base(home, url), _ORDERS, query=query, json=json)


def positions(home: Home = None, url: Url = "", json: Json = False) -> None:
    """Positions of the book."""
    _show("positions", _base(home, url), _POSITIONS, json=json)


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


def _show(what: str, base: str, columns: Columns, *, query: dict[str, Any] | None = None, json: bool) -> None:
    """The list that the portfolio answers: as a table of some of its fields, or as it came."""
    url = f"{base}/v1/{what}"
    rows = ask("GET", url, query=query)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadRecord("answer_malformed", f"{url} does not answer with a list of objects")
    if json:
        print_json(rows)
    elif rows:
        try:
            cells = [[column.of(row) for column in columns] for row in rows]
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise BadRecord("answer_malformed", f"{url}: a row cannot be shown: {error!r}") from error
        print_table([column.title for column in columns], cells, right=_right(columns))
    else:
        remark(f"no {what}")


class Column(NamedTuple):
    """A column of a table: its title, what it shows of a row, and whether that is a number."""

    title: str
    of: Callable[[Row], str]
    number: bool = False


def _right(columns: Columns) -> list[str]:
    return [column.title for column in columns if column.number]


def _field(title: str, name: str, *, number: bool = False) -> Column:
    """A field as it is; empty where it is absent or null."""
    return Column(title, lambda row: "" if row.get(name) is None else str(row[name]), number)


def _of_forecast(name: str, form: str) -> Callable[[Row], str]:
    """A field of the row's forecast, empty where there is none yet."""
    return lambda row: format(row["forecast"][name], form) if row.get("forecast") else ""


_PAIRS: Columns = (
    _field("pair", "pair"),
    _field("sector", "sector"),
    _field("state", "state"),
    Column("spread", lambda row: {1: "long", -1: "short"}.get(row["direction"], "")),
    Column("legs", lambda row: ", ".join(f"{Decimal(leg['held']):+f} {leg['symbol']}" for leg in row["legs"] if Decimal(leg["held"]))),
    Column("z", _of_forecast("z", "+.2f"), number=True),
    Column("probability", _of_forecast("reversion_probability", ".3f"), number=True),
    Column("version", _of_forecast("version", "")),
    Column("P&L USD", lambda row: row["pnl"]["total_usd"], number=True),
    _field("why it waits", "waiting"),
)
_ORDERS: Columns = (
    Column("decided (UTC)", lambda row: f"{utc(row['decided_ns']):%Y-%m-%d %H:%M:%S}" if row.get("decided_ns") else ""),
    _field("pair", "pair"),
    _field("symbol", "symbol"),
    _field("side", "side"),
    _field("qty", "qty", number=True),
    _field("type", "type"),
    _field("limit", "limit_price", number=True),
    _field("status", "status"),
    _field("filled", "filled_qty", number=True),
    _field("at", "filled_avg_price", number=True),
    _field("client order id", "client_order_id"),
)
_POSITIONS: Columns = (
    _field("symbol", "symbol"),
    _field("qty", "qty", number=True),
    _field("entry", "avg_entry_price", number=True),
    _field("price", "current_price", number=True),
    _field("value USD", "market_value", number=True),
    _field("P&L USD", "unrealized_pl", number=True),
    Column("of pairs", lambda row: ", ".join(f"{part['pair']} {Decimal(part['qty']):+f}" for part in row["pairs"])),
)


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
