"""`tandem verify`: what a run left in Kafka, in the ledger and at the exchange is compared from the outside. Exit code 1: a violation.

Not `make verify`, which checks the repository's generated files (cli/verify.py).
"""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import orjson
import typer
import yaml

from tandem.adapters.calendar import bar_ns
from tandem.adapters.synthetic_twin import twin as parse_twin
from tandem.checker.gather import Places, gather
from tandem.checker.run import verify as verify_evidence
from tandem.checker.tally import Tally
from tandem.cli.output import print_json, print_table, remark
from tandem.cli.running import kafka_servers, postgres_url, settings_of
from tandem.domain.errors import BadSetting
from tandem.domain.units import ns_of, ns_of_rfc3339
from tandem.local.home import state
from tandem.settings import Settings

_NEW_YORK = ZoneInfo("America/New_York")


def verify(  # noqa: PLR0917  (Typer passes options by name)
    exchange_log: Annotated[Path | None, typer.Option(help="The exchange.jsonl of the recycler's --state-dir.")] = None,
    data: Annotated[
        list[Path] | None, typer.Option(help="The recording that was replayed; repeatable. Without it ticks are not compared with it.")
    ] = None,
    from_: Annotated[str, typer.Option("--from", metavar="DATE", help="As the recycler was told.")] = "",
    to: Annotated[str, typer.Option("--to", metavar="DATE", help="As the recycler was told.")] = "",
    twin: Annotated[
        list[str] | None, typer.Option(metavar="A=A.SYN", help="As the recycler was told; repeatable. Needs the replay's --bar.")
    ] = None,
    session_only: Annotated[bool, typer.Option("--session-only", help="As the recycler was told.")] = False,
    book: Annotated[str, typer.Option(help="The ledger's book; the newest by default.")] = "",
    replay_id: Annotated[str, typer.Option(help="The replay; that of the log, or the newest in Kafka, by default.")] = "",
    bar: Annotated[
        str,
        typer.Option(
            metavar="1min|5min|1d",
            help="As the portfolio was told; by default TANDEM_BAR, or the platform's of --home. Without it sessions are not looked at.",
        ),
    ] = "",
    running: Annotated[bool, typer.Option("--running", help="The run is not over: what is only due at its end is not asked for.")] = False,
    unhedged_s_max: Annotated[float, typer.Option(help="Seconds of event time for which one leg may stand alone.")] = 60.0,
    report: Annotated[Path | None, typer.Option(help="Write the result here as JSON.")] = None,
    home: Annotated[Path | None, typer.Option(help="Look at the servers of the platform that runs on this folder.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Compare Kafka, the ledger and the exchange's log of a run, invariant by invariant.

    Servers come from TANDEM_KAFKA_BOOTSTRAP_SERVERS and TANDEM_POSTGRES_URL, with --home from the platform that runs there; one that is
    neither is not looked at.
    """
    settings = settings_of(home)
    places = Places(
        kafka=settings.kafka_bootstrap_servers if home is None else kafka_servers(settings),
        postgres_url=settings.postgres_url.get_secret_value() if home is None else postgres_url(settings),
        exchange_log=exchange_log,
        data=tuple(data or ()),
        from_ns=_moment_ns("from", from_, days=0),
        to_ns=_moment_ns("to", to, days=1),
        twins=tuple(parse_twin(text) for text in twin or ()),
        session_only=session_only,
        book=book,
        replay_id=replay_id,
        ended=not running,
        unhedged_s_max=unhedged_s_max,
        bar=_bar_of(bar, settings, home),
        **_limits(settings.config_dir / "risk.yaml"),
    )
    if not (places.kafka or places.postgres_url or places.exchange_log):
        raise BadSetting(
            "nothing to verify: name the folder of a running platform with --home (`tandem verify --home var/demo --running`), "
            "set TANDEM_KAFKA_BOOTSTRAP_SERVERS or TANDEM_POSTGRES_URL, or give --exchange-log"
        )
    evidence = gather(places)
    tallies = verify_evidence(evidence)
    document = {"replay_id": evidence.replay_id, "invariants": {tally.name: tally.document() for tally in tallies}}
    if json:
        print_json(document)
    else:
        show(tallies)
    if report is not None:
        report.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    violated = sum(not tally.holds for tally in tallies)
    remark(f"{len(tallies)} invariants, {sum(t.checked for t in tallies):,} cases, {violated} violated (replay {evidence.replay_id})")
    if violated:
        raise typer.Exit(1)


def show(tallies: tuple[Tally, ...]) -> None:
    """A table of all invariants, then the cases that broke them."""
    rows = [
        (tally.name, "-" if tally.not_checked else f"{tally.checked:,}", f"{tally.violated:,}", tally.not_checked or tally.claim)
        for tally in tallies
    ]
    print_table(("invariant", "checked", "violated", "claim"), rows, right=("checked", "violated"))
    for tally in tallies:
        for case in tally.examples:
            typer.echo(f"VIOLATED {tally.name}: {case}")


def _bar_of(told: str, settings: Settings, home: Path | None) -> str:
    """What was told, else TANDEM_BAR where it is set, else that of the platform; "" when nobody says."""
    told = told or (settings.bar if "bar" in settings.model_fields_set else "")
    if not told and home is not None:
        told = str(state(home.expanduser().resolve())["bar"])
    if told:
        bar_ns(told)  # raises BadSetting
    return told


def _limits(path: Path) -> dict[str, Any]:
    """When nothing opens and what nights may see, by the file that the portfolio has; none without one. The checker reads it for itself."""
    try:
        read = (yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None) or {}
        pretrade, session_end = (read.get(name) or {} for name in ("pretrade", "session_end"))
        waits: dict[str, Any] = {name: float(pretrade.get(name, 0.0)) for name in ("close_cutoff_s", "resume_wait_s")}
        return waits | {"session_end": str(session_end.get("policy", "keep"))}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        names = "pretrade.close_cutoff_s, pretrade.resume_wait_s or session_end.policy"
        raise BadSetting(f"{path}: {names} cannot be read: {error}") from error


def _moment_ns(name: str, text: str, *, days: int) -> int | None:
    """A time as it stands; of a date the midnight in New York, or the one some days later, as the recycler reads it."""
    if not text:
        return None
    try:
        if len(text) > len("2013-10-08"):
            return ns_of_rfc3339(text)
        day = date.fromisoformat(text) + timedelta(days=days)
    except ValueError as error:
        raise BadSetting(f"--{name} {text!r}: must be a date such as 2013-10-08, or a time such as 2013-10-08T13:30:00Z") from error
    return ns_of(datetime(day.year, day.month, day.day, tzinfo=_NEW_YORK))
