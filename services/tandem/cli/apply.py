"""`tandem apply` and `tandem delete`: pairs and accounts from manifests to the control topic, and pairs out of it.

The same manifests are kubectl's. All documents are checked before the first is written. What the pairs do then, the services decide that
read the topic.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tandem.adapters.config_files import DeclaredPair, load_sectors, manifest_files, read_declarations
from tandem.adapters.control_log import ControlTable, publish_control, read_control
from tandem.adapters.kafka_log import KafkaWriter
from tandem.adapters.topics import CONTROL
from tandem.adapters.yaml_documents import read_text
from tandem.cli.output import print_json, remark
from tandem.cli.running import Home, kafka_servers, settings_of
from tandem.cli.symbols import DEFAULT_CONFIG_DIR, ConfigDir, Json
from tandem.domain.control import PairSpec, TradingState, control_key
from tandem.domain.errors import BadSetting, Permanent
from tandem.rollout.declare import Change, Verb, plan, plan_modes

_CLIENT_ID = "tandem-cli"
_KINDS = ("pair", "pairs", "tp", "tradingpair", "tradingpairs")  # the names that kubectl takes for the resource


def apply(
    filename: Annotated[list[str], typer.Option("--filename", "-f", help="File, folder (its *.yaml and *.yml) or - for standard input.")],
    config_dir: ConfigDir = DEFAULT_CONFIG_DIR,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and compare, write nothing.")] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Declare pairs and the trading modes of accounts: create those that are new, configure those that differ."""
    declared = read_declarations(_texts(filename))
    if not declared.pairs and not declared.accounts:
        raise BadSetting(f"no TradingPair and no TradingAccount found in {', '.join(filename)}")
    for sentence in _unlisted(declared.pairs, config_dir):
        remark(f"warning: {sentence}")
    servers = kafka_servers(settings_of(home))
    now = _declared_now(servers)
    changes: tuple[Change[PairSpec] | Change[TradingState], ...] = (
        *plan(now.pairs, [pair.spec for pair in declared.pairs]),
        *plan_modes(now.trading, [account.state for account in declared.accounts]),
    )
    if not dry_run and (new := [change.spec for change in changes if change.verb is not Verb.UNCHANGED]):
        writer = KafkaWriter(servers, _CLIENT_ID)
        try:
            publish_control(writer, *new)
        finally:
            writer.close()
    _report(changes, dry_run=dry_run, json=json)


def delete(
    kind: Annotated[str, typer.Argument(help="`pair`.")],
    name: Annotated[str, typer.Argument(help="The pair, e.g. KO-PEP.")],
    home: Home = None,
    json: Json = False,
) -> None:
    """Withdraw a declared pair."""
    if kind.lower() not in _KINDS:
        raise Permanent(f"cannot delete a {kind!r}; allowed is pair")
    servers = kafka_servers(settings_of(home))
    declared = _declared_now(servers).pairs
    spec = declared.get(name.upper())
    if spec is None:
        raise Permanent(f"no pair {name.upper()} is declared; declared are {', '.join(declared) or 'none'}")
    writer = KafkaWriter(servers, _CLIENT_ID)
    try:
        writer.publish(CONTROL, None, key=control_key(spec).encode())
        writer.flush()
    finally:
        writer.close()
    if json:
        print_json([_subject(spec) | {"result": "deleted"}])
    else:
        typer.echo(f"pair {spec.pair} deleted")


def _texts(names: list[str]) -> list[tuple[str, str]]:
    """(name, text) of every file named, standard input included."""
    texts: list[tuple[str, str]] = []
    for name in names:
        path = Path(name)
        if name == "-":
            texts.append(("standard input", sys.stdin.read()))
        elif path.is_dir():
            texts += manifest_files(path)
        else:
            texts.append((name, read_text(path)))
    return texts


def _unlisted(declared: tuple[DeclaredPair, ...], config_dir: Path) -> list[str]:
    """A remark for each leg that sectors.yaml does not know: its ticks will not come."""
    sectors = load_sectors(config_dir)
    remarks = []
    for pair in declared:
        legs = (pair.spec.leg_a, pair.spec.leg_b)
        remarks += [f"{pair.where}: no sector lists {leg}; `tandem symbols add` does" for leg in legs if sectors.sector_of(leg) is None]
        if pair.spec.sector not in sectors.sectors:
            remarks.append(f"{pair.where}: sector {pair.spec.sector} is not known; known are {', '.join(sectors.sectors)}")
    return remarks


def _declared_now(servers: str) -> ControlTable:
    table, reader = read_control(servers, _CLIENT_ID)
    reader.close()
    return table


def _report(changes: Sequence[Change[PairSpec] | Change[TradingState]], *, dry_run: bool, json: bool) -> None:
    if json:
        print_json([_subject(c.spec) | {"result": c.verb, "differences": c.differences, "dry_run": dry_run} for c in changes])
        return
    for change in changes:
        details = f": {', '.join(change.differences)}" if change.differences else ""
        noun, name = next(iter(_subject(change.spec).items()))
        typer.echo(f"{noun} {name} {change.verb}{details}{' (dry run)' if dry_run else ''}")


def _subject(record: PairSpec | TradingState) -> dict[str, str]:
    """What a record is of, noun and name first."""
    if isinstance(record, PairSpec):
        return {"pair": record.pair, "sector": record.sector}
    return {"account": record.scope.removeprefix("account/"), "mode": record.mode}
