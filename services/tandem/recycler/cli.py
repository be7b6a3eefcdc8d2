"""The command `tandem recycler`: options to RecyclerOptions. Registered by the CLI; `python -m tandem.recycler.main` is the same."""

from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from tandem.adapters.fees_file import FEES_FILE
from tandem.adapters.telemetry import configure_logging
from tandem.domain.errors import BadSetting, TandemError
from tandem.domain.units import ns_of, ns_of_rfc3339
from tandem.flow.replay import Mode

_NEW_YORK = ZoneInfo("America/New_York")
_REPLAY, _EXCHANGE, _SERVER = "Replay", "Paper exchange", "Server"


def recycler(  # noqa: PLR0917  (a command's options are its arguments)
    data: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE",
            help="Parquet file to replay: trades, bars or daily closes; repeat it for more symbols, for quotes and for events "
            "(halts, bands, corrections). All are merged by time.",
            rich_help_panel=_REPLAY,
        ),
    ],
    port: Annotated[int, typer.Option(envvar="TANDEM_PORT", help="Port for everything.", rich_help_panel=_SERVER)] = 8765,
    host: Annotated[str, typer.Option(envvar="TANDEM_HOST", help="Address to listen on.", rich_help_panel=_SERVER)] = "127.0.0.1",
    mode: Annotated[
        Mode, typer.Option(help="Once, again and again, once over a range, or bar by bar on request.", rich_help_panel=_REPLAY)
    ] = Mode.SINGLE_PASS,
    from_: Annotated[
        str,
        typer.Option(
            "--from", metavar="DATE", help="First day (New York), e.g. 2013-10-08, or a time as in RFC 3339.", rich_help_panel=_REPLAY
        ),
    ] = "",
    to: Annotated[
        str, typer.Option("--to", metavar="DATE", help="Last day, included, or a time that is not.", rich_help_panel=_REPLAY)
    ] = "",
    speed: Annotated[
        str,
        typer.Option(
            metavar="N|max", help="Times real time while the market is open (nights take no time); max: no pacing.", rich_help_panel=_REPLAY
        ),
    ] = "1",
    bar: Annotated[
        str, typer.Option(metavar="1min|5min|1d", help="Bars at whose close a heartbeat is sent.", rich_help_panel=_REPLAY)
    ] = "1min",
    symbols: Annotated[
        str, typer.Option(metavar="A,B", help="Replay these symbols only.", show_default="all", rich_help_panel=_REPLAY)
    ] = "",
    session_only: Annotated[
        bool,
        typer.Option(
            "--session-only/--all-hours", help="Leave out trades and quotes outside the regular sessions.", rich_help_panel=_REPLAY
        ),
    ] = False,
    gaps: Annotated[
        bool, typer.Option("--gaps/--no-gaps", help="Nights and weekends take their time, too.", rich_help_panel=_REPLAY)
    ] = False,
    twin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A=A.SYN",
            help="Add a made-up symbol that is cointegrated with a recorded one, to see a pair that is one. Its name says so.",
            rich_help_panel=_REPLAY,
        ),
    ] = None,
    spool: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where the sorted recording lies while it is replayed: about 60 bytes a tick.",
            show_default="the system's folder for temporary files",
            rich_help_panel=_REPLAY,
        ),
    ] = None,
    start_on_subscribe: Annotated[
        bool, typer.Option("--start-on-subscribe", help="Wait for the first market-data subscription.", rich_help_panel=_REPLAY)
    ] = False,
    hold: Annotated[bool, typer.Option("--hold", help="Wait for POST /tandem/v1/replay/start.", rich_help_panel=_REPLAY)] = False,
    lockstep: Annotated[
        bool | None,
        typer.Option(
            "--lockstep/--no-lockstep",
            help="After each bar wait until all participants have acknowledged it.",
            show_default="on above real time",
            rich_help_panel=_REPLAY,
        ),
    ] = None,
    participants: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Wait for this one from the start (repeat, or separate by commas).", rich_help_panel=_REPLAY),
    ] = None,
    ack_limit_s: Annotated[float, typer.Option(help="Seconds after which who is waited for is named.", rich_help_panel=_REPLAY)] = 30.0,
    label: Annotated[
        str, typer.Option(help="Part of the replay's id: another label makes another replay of the same data.", rich_help_panel=_REPLAY)
    ] = "",
    cash: Annotated[str, typer.Option(metavar="USD", help="What the account opens with.", rich_help_panel=_EXCHANGE)] = "1000000",
    half_spread_bps: Annotated[
        str, typer.Option(metavar="BPS", help="Half the spread that every fill pays, at least half a cent.", rich_help_panel=_EXCHANGE)
    ] = "1",
    strict: Annotated[
        bool,
        typer.Option(
            "--strict/--lenient",
            help="Refuse wash trades and orders that turn a position over, as Alpaca does.",
            rich_help_panel=_EXCHANGE,
        ),
    ] = True,
    participation: Annotated[
        str,
        typer.Option(
            metavar="0..1", help="Share of each trade's or quote's size that orders may take; 0: any quantity.", rich_help_panel=_EXCHANGE
        ),
    ] = "0",
    slippage_bps: Annotated[
        str, typer.Option(metavar="BPS", help="What orders without a limit pay on top of the spread.", rich_help_panel=_EXCHANGE)
    ] = "0",
    borrow_bps: Annotated[
        str, typer.Option(metavar="BPS", help="A year's fee on what is short overnight.", rich_help_panel=_EXCHANGE)
    ] = "0",
    hard_borrow_bps: Annotated[
        str, typer.Option(metavar="BPS", help="The same for what is hard to borrow.", rich_help_panel=_EXCHANGE)
    ] = "0",
    margin_bps: Annotated[
        str, typer.Option(metavar="BPS", help="A year's interest on what cash is below 0 overnight.", rich_help_panel=_EXCHANGE)
    ] = "0",
    rate_limit: Annotated[
        int | None,
        typer.Option(
            help="Requests a minute to the trading API; 0: any number.",
            show_default="200 as at Alpaca, none in lockstep or at full speed",
            rich_help_panel=_EXCHANGE,
        ),
    ] = None,
    script: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Halts, splits, refusals and the like, by time (docs/exchange.md).", rich_help_panel=_EXCHANGE),
    ] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Keep the exchange's log there, and go on from it after a restart.", rich_help_panel=_EXCHANGE),
    ] = None,
    fees: Annotated[
        Path | None,
        typer.Option(
            help="Table of regulatory fees.", show_default=f"{FEES_FILE} in the configuration's folder", rich_help_panel=_EXCHANGE
        ),
    ] = None,
    faults: Annotated[
        str,
        typer.Option(metavar="FILE|seed:N", help="Break the wire: a list of faults in YAML, or by seed.", rich_help_panel=_SERVER),
    ] = "",
    config_dir: Annotated[
        Path, typer.Option(envvar="TANDEM_CONFIG_DIR", help="Folder of the configuration.", rich_help_panel=_EXCHANGE)
    ] = Path("config"),
    key: Annotated[
        str, typer.Option(envvar="TANDEM_RECYCLER_KEY", help="Accept this API key only.", show_default="any", rich_help_panel=_SERVER)
    ] = "",
    secret: Annotated[
        str, typer.Option(envvar="TANDEM_RECYCLER_SECRET", help="Accept this secret only.", show_default="any", rich_help_panel=_SERVER)
    ] = "",
    connections_max: Annotated[int, typer.Option(help="Connections to each stream; Alpaca allows 1.", rich_help_panel=_SERVER)] = 16,
    symbols_max: Annotated[
        int,
        typer.Option(
            help="Symbols of trades and quotes that a client may follow; Alpaca's free feed allows 30.",
            show_default="any number",
            rich_help_panel=_SERVER,
        ),
    ] = 0,
    send_limit_s: Annotated[
        float,
        typer.Option(
            help="Seconds after which a client that takes nothing is sent away as a slow client, as Alpaca does.",
            show_default="it is waited for",
            rich_help_panel=_SERVER,
        ),
    ] = 0.0,
    log_level: Annotated[str, typer.Option(envvar="TANDEM_LOG_LEVEL", help="DEBUG to ERROR.", rich_help_panel=_SERVER)] = "INFO",
) -> None:
    """Replay recorded market data as if it were Alpaca, with a paper exchange.

    In real time, from the first tick: tandem recycler --data trades.parquet

    Daily closes, as fast as possible once a client subscribes: tandem recycler --data c.parquet --bar 1d --speed max --start-on-subscribe

    Point any Alpaca client at it, with any key and secret:

    market data ws://127.0.0.1:8765/v2/iex, trade updates ws://127.0.0.1:8765/stream, REST http://127.0.0.1:8765

    Where the replay is: GET /tandem/v1/replay. Its buttons: POST /tandem/v1/replay/start, pause, resume, step, seek, speed.

    What files may hold, what is sent and answered: docs/recycler.md. Orders, halts, splits and fees: docs/exchange.md.
    """
    # Imported here because pandas and the calendar take a second, which no other command of the CLI shall wait for.
    from tandem.adapters.synthetic_twin import twin as parse_twin  # noqa: PLC0415  (see above)
    from tandem.recycler.app import serve  # noqa: PLC0415  (see above)
    from tandem.recycler.options import RecyclerOptions  # noqa: PLC0415  (see above)

    configure_logging("recycler", log_level)
    try:
        pace = _speed(speed)
        options = RecyclerOptions(
            data=tuple(data),
            port=port,
            host=host,
            mode=mode,
            from_ns=_moment_ns("from", from_, days=0),
            to_ns=_moment_ns("to", to, days=1),
            speed=pace,
            bar=bar,
            symbols=tuple(name for name in symbols.split(",") if name),
            session_only=session_only,
            gaps=gaps,
            twins=tuple(parse_twin(text) for text in twin or ()),
            spool=spool,
            start_on_subscribe=start_on_subscribe,
            hold=hold,
            lockstep=pace > 1 if lockstep is None else lockstep,
            participants=tuple(name for text in participants or () for name in text.split(",") if name),
            ack_limit_s=ack_limit_s,
            label=label,
            faults=faults,
            cash_usd=_decimal("cash", cash),
            half_spread_bps=_decimal("half-spread-bps", half_spread_bps),
            strict=strict,
            participation=_decimal("participation", participation),
            slippage_bps=_decimal("slippage-bps", slippage_bps),
            borrow_bps=_decimal("borrow-bps", borrow_bps),
            hard_borrow_bps=_decimal("hard-borrow-bps", hard_borrow_bps),
            margin_bps=_decimal("margin-bps", margin_bps),
            rate_limit=rate_limit,
            script=script,
            state_dir=state_dir,
            fees=fees or config_dir / FEES_FILE,
            key=key,
            secret=secret,
            connections_max=connections_max,
            symbols_max=symbols_max,
            send_limit_s=send_limit_s,
        )
        code = serve(options)
    except TandemError as error:
        typer.echo(f"recycler: {error}", err=True)
        raise typer.Exit(2) from error
    raise typer.Exit(code)


def _moment_ns(name: str, text: str, *, days: int) -> int | None:
    """A time as it stands; of a date the midnight in New York, or the one some days later."""
    if not text:
        return None
    try:
        if len(text) > len("2013-10-08"):
            return ns_of_rfc3339(text)
        day = date.fromisoformat(text) + timedelta(days=days)
    except ValueError as error:
        raise BadSetting(f"{name} {text!r}: must be a date such as 2013-10-08, or a time such as 2013-10-08T13:30:00Z") from error
    return ns_of(datetime(day.year, day.month, day.day, tzinfo=_NEW_YORK))


def _speed(text: str) -> float:
    if text == "max":
        return float("inf")
    try:
        return float(text)
    except ValueError as error:
        raise BadSetting(f"speed {text!r}: must be a number above 0, or max") from error


def _decimal(name: str, text: str) -> Decimal:
    try:
        found = Decimal(text)
    except InvalidOperation as error:
        raise BadSetting(f"{name} {text!r}: must be a number") from error
    if not found.is_finite():
        raise BadSetting(f"{name} {text!r}: must be finite")
    return found


app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
app.command("recycler")(recycler)
