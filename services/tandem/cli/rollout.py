"""`tandem rollout`: how a new model version takes over, without Kubernetes. It asks through the control topic and shows what is there.

Who carries it out is local/rollouts.py, within `tandem up` or `tandem rollout run`.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from tandem.adapters.control_log import ControlTable, publish_control, read_control
from tandem.adapters.kafka_log import KafkaWriter
from tandem.cli.output import print_facts, print_json, print_table, remark
from tandem.cli.running import Home, kafka_servers, mlflow_uri, settings_of
from tandem.cli.symbols import Json
from tandem.domain.control import RolloutRecord, RolloutRequest, RoutingPointer
from tandem.domain.errors import BadSetting, Permanent, Transient
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import SectorId, sector_id
from tandem.domain.units import rfc3339, utc
from tandem.local.endpoints import PORT_BASE

if TYPE_CHECKING:
    from tandem.rollout.state import RolloutState

app = typer.Typer(no_args_is_help=True, help="Rollouts of new model versions: start, watch, promote, roll back, abort, carry out.")

Sector = Annotated[str, typer.Argument(help="The sector, e.g. technology.")]
Reason = Annotated[str, typer.Option(help="Why, for the record.")]
Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait for the answer; 0 does not wait.")]
_CLIENT_ID = "tandem-rollout"
_WAIT_S = 30.0
_POLL_S = 0.25
_LOOK_S = 1.0  # between the looks of `run`
_INTERRUPTED = 130


@app.command()
def start(
    sector: Sector,
    *,
    version: Annotated[str, typer.Option(help="The registered version; default: the one that alias candidate names.")] = "",
    reason: Reason = "",
    wait: Wait = _WAIT_S,
    home: Home = None,
    json: Json = False,
) -> None:
    """Begin the rollout of a version; also of one whose rollout has ended before, unless it is quarantined."""
    settings, name = settings_of(home), _sector(sector)
    servers = kafka_servers(settings)
    found = _startable(mlflow_uri(settings), name, version, _table(servers).pointers.get(name))
    _ask(servers, name, "start", version=found.version, reason=reason, wait_s=wait, json=json)


@app.command()
def promote(sector: Sector, reason: Reason = "", wait: Wait = _WAIT_S, home: Home = None, json: Json = False) -> None:
    """Let the candidate take over now, whatever the gates still wait for. Refused when one has failed or its forecaster is not ready."""
    _ask_running(sector, "promote", reason, wait_s=wait, home=home, json=json)


@app.command()
def rollback(sector: Sector, reason: Reason = "", wait: Wait = _WAIT_S, home: Home = None, json: Json = False) -> None:
    """Return to the version before; the candidate is quarantined."""
    _ask_running(sector, "rollback", reason, wait_s=wait, home=home, json=json)


@app.command()
def abort(sector: Sector, reason: Reason = "", wait: Wait = _WAIT_S, home: Home = None, json: Json = False) -> None:
    """Give the candidate up before it is promoted; it is not quarantined."""
    _ask_running(sector, "abort", reason, wait_s=wait, home=home, json=json)


@app.command()
def status(
    sector: Annotated[str, typer.Argument(help="One sector with its gates and history; default: a line for each.")] = "",
    home: Home = None,
    json: Json = False,
) -> None:
    """Where the rollouts stand."""
    table = _table(kafka_servers(settings_of(home)))
    records = {record.sector: record for record in table.records.values() if isinstance(record, RolloutRecord)}
    sectors = sorted({*records, *table.pointers}) if not sector else [_sector(sector)]
    if sector and sectors[0] not in {*records, *table.pointers}:
        raise Permanent(f"sector {sector} has neither a routing pointer nor a rollout; known: {', '.join({*records, *table.pointers})}")
    if json:
        found = [_document(name, table, records.get(name)) for name in map(SectorId, sectors)]
        print_json(found[0] if sector else found)
    elif sector:
        name = SectorId(sectors[0])
        _print_one(table.pointers.get(name), _state(table, name), _wait(records.get(name)))
    else:
        print_table(_COLUMNS, [_row(name, table) for name in map(SectorId, sectors)], right=("bars", "QLIKE delta", "p"))


@app.command()
def run(
    home: Home = None,
    port_base: Annotated[
        int, typer.Option("--port-base", min=1024, max=65_000, help="The first port of the forecasters' range.")
    ] = PORT_BASE,
) -> None:
    """Carry rollouts out on servers of your own, with the forecasters as child processes, until Ctrl-C. `tandem up` does it by itself."""
    settings = settings_of(home)
    given = {
        "TANDEM_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "TANDEM_POSTGRES_URL": settings.postgres_url.get_secret_value(),
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
    }
    if missing := [name for name, value in given.items() if not value]:
        raise BadSetting(f"not set: {', '.join(missing)}; `tandem up` starts its own servers and carries rollouts out itself")
    # Here, because they import Kafka, numpy and pydantic models, and the other commands need little of it.
    from tandem.local.rollout_runner import run_rollouts  # noqa: PLC0415

    try:
        run_rollouts(settings, port_base, remark, every_s=_LOOK_S)
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None


def _startable(tracking_uri: str, sector: SectorId, version: str, pointer: RoutingPointer | None) -> ModelRef:
    """The version to start. Raises Permanent with the reason why there is none."""
    from tandem.adapters.registry_rest import Registry  # noqa: PLC0415  (with numpy, for this command only)
    from tandem.quant.bundle import model_name  # noqa: PLC0415
    from tandem.rollout.candidates import Hold, Wanted, choose  # noqa: PLC0415

    name = model_name(sector)
    stable = None if pointer is None else ModelRef(name=name, version=pointer.version, digest=pointer.digest)
    with Registry(tracking_uri) as registry:
        versions = registry.versions(name)
    found = choose(Wanted(version=version) if version else Wanted(), versions, name=name, stable=stable)
    if isinstance(found, Hold):
        raise Permanent(f"{sector}: {found.reason}: {found.message}")
    return found


def _ask_running(sector: str, action: str, reason: str, *, wait_s: float, home: Any, json: bool) -> None:
    servers, name = kafka_servers(settings_of(home)), _sector(sector)
    if _state(_table(servers), name) is None:
        raise Permanent(f"sector {name} has no rollout; `tandem rollout start {name}` begins one")
    _ask(servers, name, action, reason=reason, wait_s=wait_s, json=json)


def _ask(servers: str, sector: SectorId, action: str, *, version: str = "", reason: str, wait_s: float, json: bool) -> None:
    """Write the request, wait until whoever carries rollouts out has answered it, and show what has become of it."""
    request = RolloutRequest(sector=sector, request_id=uuid4().hex, action=action, version=version, reason=reason)
    writer = KafkaWriter(servers, _CLIENT_ID)
    try:
        publish_control(writer, request)
    finally:
        writer.close()
    if not wait_s:
        typer.echo(f"{sector}: {action} is asked for")
        return
    state = _answer(servers, request, wait_s)
    newest = state.history[-1]
    if newest.reason == "RequestRefused":
        raise Permanent(newest.message)
    if json:
        print_json(_plain(state))
    else:
        typer.echo(f"{sector}: {state.step}, {state.outcome}: {state.reason}: {state.message}")


def _answer(servers: str, request: RolloutRequest, wait_s: float) -> "RolloutState":
    table, reader = read_control(servers, _CLIENT_ID)
    deadline_s = time.monotonic() + wait_s
    try:
        while (state := _state(table, request.sector)) is None or state.request_id != request.request_id:
            if time.monotonic() > deadline_s:
                raise Transient(
                    f"nobody has answered within {wait_s:g} s: rollouts are carried out by `tandem up` or `tandem rollout run`; "
                    "the request stays, and is answered when one of them runs"
                )
            for record in reader.poll(_POLL_S):
                table.apply(record)
    finally:
        reader.close()
    return state


def _table(servers: str) -> ControlTable:
    table, reader = read_control(servers, _CLIENT_ID)
    reader.close()
    return table


def _state(table: ControlTable, sector: SectorId) -> "RolloutState | None":
    from tandem.rollout.state import from_document  # noqa: PLC0415  (pydantic takes 0.2 s)

    record = table.records.get(f"rollout/{sector}")
    return from_document(record.document) if isinstance(record, RolloutRecord) else None


def _sector(text: str) -> SectorId:
    try:
        return sector_id(text)
    except ValueError as error:
        raise BadSetting(f"sector: {error}") from error


def _document(sector: SectorId, table: ControlTable, record: RolloutRecord | None) -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415  (used once, here)

    pointer = table.pointers.get(sector)
    return {
        "sector": sector,
        "pointer": None if pointer is None else asdict(pointer),
        "rollout": None if record is None else dict(record.document),
    }


def _plain(state: "RolloutState") -> dict[str, Any]:
    from tandem.rollout.state import to_document  # noqa: PLC0415  (see _state)

    return to_document(state)


def _gate(state: "RolloutState", show: Callable[[Any], str]) -> str:
    """Of the statistical gate at its newest look."""
    from tandem.rollout.promotion import QLIKE_GATE  # noqa: PLC0415  (numpy)

    return next((show(gate) for gate in state.gates if gate.name == QLIKE_GATE), "-")


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


_OF_STATE: dict[str, Callable[["RolloutState"], str]] = {
    "candidate": lambda s: s.candidate.version,
    "step": lambda s: str(s.step),
    "outcome": lambda s: str(s.outcome),
    "bars": lambda s: _gate(s, lambda gate: str(gate.bars)),
    "QLIKE delta": lambda s: _gate(s, lambda gate: _number(gate.effect, "+.4f")),
    "p": lambda s: _gate(s, lambda gate: _number(gate.p_value, ".3g")),
    "verdict": lambda s: _gate(s, lambda gate: str(gate.verdict)),
    "reason": lambda s: s.reason,
}
_COLUMNS = ("sector", "acted on", "epoch", *_OF_STATE)


def _row(sector: SectorId, table: ControlTable) -> list[str]:
    pointer, state = table.pointers.get(sector), _state(table, sector)
    acted = "-" if pointer is None else pointer.version + (f" ({pointer.canary.version} canary)" if pointer.canary else "")
    first = [sector, acted, str(pointer.epoch) if pointer else "-"]
    return [*first, *("-" if state is None else show(state) for show in _OF_STATE.values())]


def _wait(record: RolloutRecord | None) -> str:
    """What the rollout waits for, as whoever carries it out has noted beside its state."""
    return "" if record is None else str(record.document.get("wait") or "")


def _print_one(pointer: RoutingPointer | None, state: "RolloutState | None", wait: str) -> None:
    if pointer is not None:
        canary = "none" if pointer.canary is None else f"version {pointer.canary.version} for {', '.join(pointer.canary.pairs)}"
        print_facts(
            {
                "acted on": f"version {pointer.version} ({pointer.digest[:12]})",
                "epoch": str(pointer.epoch),
                "canary": canary,
                "before": f"version {pointer.previous.version}" if pointer.previous else "none",
            }
        )
    if state is None:
        return
    print_facts(
        {
            "candidate": f"version {state.candidate.version} ({state.candidate.digest[:12]})",
            "step": str(state.step),
            "outcome": str(state.outcome),
            "newest": f"{state.reason}: {state.message}",
            "waits for": wait or "nothing",
            "bars count from": rfc3339(state.evidence_from_ns) if state.evidence_from_ns else "the first",
        }
    )
    print_table(("gate", "verdict", "found"), [(gate.name, str(gate.verdict), gate.reason) for gate in state.gates])
    moments = [(f"{utc(int(m.at_s * 1e9)):%Y-%m-%d %H:%M:%S}", str(m.step), m.reason, m.message) for m in state.history]
    print_table(("UTC", "step", "reason", "message"), moments)
