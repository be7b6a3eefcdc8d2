"""`tandem up`, `tandem down` and `tandem status`: the whole platform on this machine, for work on it."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import psutil
import typer

from tandem.cli.output import print_json, print_table, remark
from tandem.cli.running import Home, settings_of
from tandem.domain.errors import Permanent, Transient
from tandem.local.endpoints import PORT_BASE, Endpoints
from tandem.local.home import state, supervisor_pid
from tandem.local.processes import STOP_GRACE_S, last_lines
from tandem.local.records import end_leftovers, read_records
from tandem.local.status import ProcessStatus, process_status, statuses, unready
from tandem.settings import Settings

if TYPE_CHECKING:
    from rich.table import Table

    from tandem.local.platform import Platform
    from tandem.local.supervisor import Supervisor, UpOptions

_START_S = 600.0  # the first start fetches Kafka; afterwards it takes seconds
_STOP_S = 6 * STOP_GRACE_S  # three phases of the children, each with its grace and a kill
_FORECASTERS_S = 120.0  # they start last, six of them in 47 s on a busy machine; one that hangs keeps nobody waiting for ever
_WATCH_S = 1.0
_INTERRUPTED = 130
_MIB = 1 << 20

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PortBase = Annotated[
    int,
    typer.Option(
        "--port-base", envvar="TANDEM_PORT_BASE", min=1024, max=65_000, help="The first port; each process has a fixed one after it."
    ),
]


def up(
    *,
    home: Home = None,
    port_base: PortBase = PORT_BASE,
    data: Annotated[Path | None, typer.Option(help="Parquet of trades or bars to replay; default: 20 US stocks, daily 1990-2022.")] = None,
    bar: Annotated[str, typer.Option(help="Bar length: 1min, 5min or 1d; default: TANDEM_BAR, 1d for the default data.")] = "",
    speed: Annotated[str, typer.Option(help="Times real time, or max; default: one bar a second.")] = "",
    mode: Annotated[str, typer.Option(help="single_pass, loop, date_range or step, as `tandem recycler` takes it.")] = "",
    from_time: Annotated[
        str, typer.Option("--from", help="Begin of the replay: YYYY-MM-DD or an ISO time; default: the data's begin.")
    ] = "",
    to_time: Annotated[str, typer.Option("--to", help="End of the replay, exclusive; default: the data's end.")] = "",
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when everything is ready; `tandem down` stops it.")] = False,
    json: Annotated[bool, typer.Option("--json", help="With --detach: print what runs as JSON, as `tandem status` does.")] = False,
) -> None:
    """Start servers and services and look after them until Ctrl-C."""
    # Here, because they import Kafka, SQLAlchemy and numpy, and `tandem status` needs none of these.
    from tandem.local.supervisor import UpOptions  # noqa: PLC0415

    settings = settings_of(home)
    if detach:
        _detach(settings, [argument for argument in sys.argv[1:] if argument not in {"--detach", "-d", "--json"}], quiet=json)
        if json:
            status(home, json=True)
        return
    if json:
        raise typer.BadParameter("--json goes with --detach: without it the command ends only when the platform does")
    options = UpOptions(data=data, bar=bar, speed=speed, mode=mode, from_time=from_time, to_time=to_time)
    try:
        _run(settings, port_base, options)
    except KeyboardInterrupt:
        remark("stopped")
        raise typer.Exit(_INTERRUPTED) from None


def _run(settings: Settings, port_base: int, options: "UpOptions") -> None:
    from tandem.local.platform import Platform  # noqa: PLC0415
    from tandem.local.supervisor import Supervisor  # noqa: PLC0415

    started_s = time.monotonic()
    with Platform(settings.home, settings, port_base, report=remark) as platform:
        supervisor = Supervisor(platform, settings, options, remark)
        try:
            supervisor.start()
            how = "Ctrl-C" if os.isatty(0) else "`tandem down`"  # a detached one has no terminal
            remark(f"ready after {time.monotonic() - started_s:.1f} s; logs in {platform.children.log_dir}; {how} stops everything")
            _look_after(platform, supervisor)
        finally:
            supervisor.close()


def _look_after(platform: "Platform", supervisor: "Supervisor") -> None:
    """Watch for ever, with a table where there is a terminal. What cannot be done now does not end the watch."""
    from rich.console import Console  # noqa: PLC0415  (0.1 s)
    from rich.live import Live  # noqa: PLC0415

    console = Console(stderr=True)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            try:
                supervisor.watch()
            except (Transient, Permanent) as error:
                supervisor.warn(error)
            if console.is_terminal:
                live.update(_table([process_status(child.record) for child in platform.processes]), refresh=True)
            time.sleep(_WATCH_S)


def _detach(settings: Settings, arguments: list[str], *, quiet: bool) -> None:
    """Start the same command in the background and wait until it is ready or has ended."""
    home = settings.home.expanduser().resolve()
    if (pid := supervisor_pid(home)) is not None:
        raise Permanent(f"a platform runs on {home} already (pid {pid}): `tandem down` stops it; or choose another --home")
    (home / "logs").mkdir(parents=True, exist_ok=True)
    log = home / "logs" / "supervisor.log"
    with log.open("wb") as out:
        child = subprocess.Popen(  # noqa: S603  our own command line
            [sys.executable, "-m", "tandem.cli.main", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "TANDEM_HOME": str(home)},
        )
    deadline_s, shown = time.monotonic() + _START_S, 0
    try:
        while state(home)["pid"] != child.pid or state(home)["state"] != "ready":
            if child.poll() is not None:
                raise Permanent(f"the platform does not start; end of {log}:\n{last_lines(log)}")
            if time.monotonic() > deadline_s:
                raise Permanent(f"the platform is not ready after {_START_S:.0f} s; end of {log}:\n{last_lines(log)}")
            shown = tell_lines(log, shown)
            time.sleep(0.1)
        shown = tell_lines(log, shown)
        late = unready(home, within_s=_FORECASTERS_S)
    except BaseException:
        if child.poll() is None:
            child.terminate()
            child.wait(timeout=_STOP_S)
        raise
    tell_lines(log, shown)
    if late:
        remark(f"not ready yet: {', '.join(late)}; `tandem status` tells why")
    if quiet:
        return
    typer.echo(f"runs in the background (pid {child.pid}); `tandem status` shows it, `tandem down` stops it")


def tell_lines(log: Path, shown: int) -> int:
    """Print the whole lines of a log beyond the bytes that were shown; how many have been shown now."""
    said = log.read_bytes()
    end = said.rfind(b"\n") + 1
    typer.echo(said[shown:end], nl=False, err=True)
    return max(shown, end)


def down(home: Home = None, json: Json = False) -> None:
    """Stop the platform and make sure that none of its processes is left."""
    folder = settings_of(home).home.expanduser().resolve()
    before = [record for record in read_records(folder / "run") if record.process() is not None]
    pid = supervisor_pid(folder)
    if pid is not None:
        _end_supervisor(pid)
    if (folder / "run").is_dir():
        _, survivors = end_leftovers(folder / "run", STOP_GRACE_S)
        if survivors:
            raise Permanent(f"processes {survivors} survive SIGKILL")
    if not json and pid is None and not before:
        typer.echo(f"nothing runs on {folder}")
        return
    if left := [record.pid for record in before if record.process() is not None]:
        raise Permanent(f"processes {left} are still there")
    if json:
        print_json({"home": str(folder), "stopped": [record.name for record in before]})
        return
    typer.echo(f"stopped {', '.join(record.name for record in before) or 'the supervisor'}; all {len(before)} processes are gone")


def _end_supervisor(pid: int) -> None:
    """SIGTERM; it stops its children in order. If it does not end, the caller stops them."""
    try:
        process = psutil.Process(pid)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=_STOP_S)
    except psutil.NoSuchProcess:
        return
    except psutil.TimeoutExpired:
        remark(f"the supervisor (pid {pid}) does not end within {_STOP_S:.0f} s; it is killed")
        process.kill()
        process.wait(timeout=STOP_GRACE_S)


def status(home: Home = None, json: Json = False) -> None:
    """Show each process, whether it is ready, and where the servers are. Exit code 1 when nothing runs."""
    folder = settings_of(home).home.expanduser().resolve()
    processes, pid, told = statuses(folder), supervisor_pid(folder), state(folder)
    exports = _exports(folder, told["endpoints"]) if pid is not None and told["endpoints"] else {}
    if json:
        print_json(
            {
                "home": str(folder),
                "supervisor_pid": pid,
                "state": told["state"] if pid is not None else "stopped",
                "processes": [asdict(process) | {"ready": process.why_not_ready is None} for process in processes],
                "environment": exports,
            }
        )
    else:
        _print_status(folder, pid, told["state"], processes, exports)
    if pid is None:
        raise typer.Exit(1)


def _print_status(folder: Path, pid: int | None, phase: str, processes: list[ProcessStatus], exports: dict[str, str]) -> None:
    if pid is None and not processes:
        typer.echo(f"nothing runs on {folder}; `tandem up` starts it")
        return
    if pid is None:
        remark("the supervisor is gone, what it started is left: `tandem down` ends it")
    else:
        typer.echo(f"{folder}: {phase}, supervisor pid {pid}")
    print_table(_COLUMNS, map(_row, processes), right=_NUMBERS)
    for name, value in exports.items():
        typer.echo(f"export {name}={value}")


def _exports(folder: Path, endpoints: dict[str, str]) -> dict[str, str]:
    """The variables that let a shell use the running servers."""
    token = folder / "run" / "api_token"
    return Endpoints(**endpoints).environment() | {
        "TANDEM_HOME": str(folder),
        **({"TANDEM_API_TOKEN": token.read_text().strip()} if token.exists() else {}),
    }


_COLUMNS = ("name", "pid", "port", "ready", "memory MiB", "uptime")
_NUMBERS = ("pid", "port", "memory MiB", "uptime")


def _row(process: ProcessStatus) -> tuple[str, ...]:
    ready = "yes" if process.why_not_ready is None else process.why_not_ready.split(": ", 1)[-1][:80]
    hours, rest = divmod(int(process.uptime_s), 3600)
    uptime = f"{hours}:{rest // 60:02}:{rest % 60:02}"
    return process.name, str(process.pid), str(process.port), ready, f"{process.memory_bytes / _MIB:.0f}", uptime


def _table(processes: list[ProcessStatus]) -> "Table":
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415  (0.1 s)
    from rich.table import Table  # noqa: PLC0415

    table = Table(*_COLUMNS, box=SIMPLE_HEAD, pad_edge=False)
    for column, name in zip(table.columns, _COLUMNS, strict=True):
        column.justify = "right" if name in _NUMBERS else "left"
    for process in processes:
        table.add_row(*_row(process))
    return table
