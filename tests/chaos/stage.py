"""One seed's platform: its services, their supervisor, the market's clock, and hands to break things with. Called by run.py and faults.py.

The market runs in lockstep with two who acknowledge: the portfolio, and this stage, which so stops the market at the bars where something
breaks. Dead services and servers are started again after a moment, as a kubelet does it, however often they die.
"""

import inspect
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import psycopg2

from chaos import machine
from chaos.clock import LOOK
from chaos.happened import Recovery, Rollout, Stuck
from chaos.launch import Launcher, Running, clock_file
from chaos.market import ReplayPlan
from chaos.models import Models
from chaos.servers import NAMES, Servers
from chaos.sockets import HOST
from tandem.adapters.control_log import publish_control
from tandem.adapters.kafka_log import KafkaWriter
from tandem.checker.tally import Tally
from tandem.domain.control import RoutingPointer
from tandem.domain.errors import Permanent
from tandem.domain.ids import SectorId
from tandem.domain.units import rfc3339
from tandem.local.endpoints import Endpoints, Service
from tandem.local.probes import http_ready
from tandem.local.services import Services
from tandem.recycler.cli import recycler as recycler_command

CAPITAL_USD = Decimal(1_000_000)
TOKEN = "token-of-the-chaos-run"
_KEYS = {"APCA-API-KEY-ID": "recycled", "APCA-API-SECRET-KEY": "recycled"}
_RESTART_S = 0.2  # from a death to the next start
_PROBE_S = 0.1
_POLL_S = 0.01
_SLICE_S = 0.25  # in which a throttled process runs for its share
_READY_S = 150.0  # how long anything may take; what is promised is judged by run.py
PARTICIPANT = "chaos"
KEEPS_LOG = "state_dir" in inspect.signature(recycler_command).parameters


class Stage:
    """Everything of one seed that runs."""

    def __init__(self, servers: Servers, launcher: Launcher, plan: ReplayPlan, models: Models, folder: Path) -> None:
        self.servers, self.plan, self.folder, self.sockets = servers, plan, folder, servers.sockets
        self._launcher, self.models = launcher, models
        self._running: dict[str, Running] = {}
        self._asked: set[str] = set()  # deaths that a fault has caused and that nobody has noted yet
        self._kept_down: set[str] = set()
        self._files_max: dict[str, int] = {}  # bytes that a file of a process may have, where its disk is full
        self._throttled: dict[str, float] = {}  # share of the time in which a process may run
        self.epoch = 1  # of the newest routing pointers
        self._standby: Running | None = None
        self._begun = False
        self._acked_ns = 0
        self._probed_s = 0.0
        self._moved_s, self._moved_to_ns = time.monotonic(), 0
        self.stalled_s = 0.0  # longest time for which the market stood still
        self.recoveries: list[Recovery] = []
        self.switches = Tally(name="kill_switch_within_a_second", claim="The kill switch is in force a second after it was taken.")
        self.no_opens: list[tuple[int, int]] = []  # event times after, and up to, which no position may be opened
        self.rollouts: list[Rollout] = []
        self.injected: set[bytes] = set()  # records that were put into topics on purpose
        self.status: dict[str, Any] = {}
        self._http = httpx.Client(timeout=5, headers=_KEYS, trust_env=False)
        self._services = {service.name: service for service in self._made()}

    # What runs

    @property
    def state_dir(self) -> Path:
        """Where the recycler keeps its log."""
        return self.folder / "exchange"

    @property
    def names(self) -> tuple[str, ...]:
        """The services, in the order of their start."""
        return tuple(self._services)

    @property
    def rollout_sector(self) -> str:
        """The one whose versions change: of the default data the last, whose pairs trade from the first bars to the last."""
        return self.plan.sectors[-1].sector

    @property
    def stable_forecaster(self) -> str:
        """The name of its forecaster that decides where nothing else is said."""
        return next(name for name in self._services if name.startswith(f"forecaster-{self.rollout_sector}-"))

    def _made(self) -> list[Service]:
        servers, ports = self.servers, self.servers.ports
        rest, updates, market = (servers.proxy_port(name) for name in ("rest", "updates", "market"))
        self._maker = services = Services(
            endpoints=Endpoints(
                kafka=servers.kafka,
                postgres=servers.proxied_postgres_url,
                redis=f"redis://{HOST}:{servers.proxy_port('redis')}/0",
                mlflow=self.models.tracking_uri,
            ),
            ports=ports,
            home=self.folder,
            config_dir=self.plan.config,
            bar=self.plan.bar,
            api_token=TOKEN,
            more={
                "TANDEM_ALPACA_DATA_URL": f"ws://{HOST}:{market}/v2/iex",
                "TANDEM_ALPACA_STREAM_URL": f"ws://{HOST}:{updates}/stream",
                "TANDEM_ALPACA_API_URL": f"http://{HOST}:{rest}",
            },
        )
        forecasters = [services.forecaster(sector, ref.version, n) for n, (sector, ref) in enumerate(self.models.refs.items())]
        recycler = services.recycler(self._recycler_options())
        return [recycler, services.recorder(), *forecasters, services.ingestor(), services.portfolio(capital_usd=str(CAPITAL_USD))]

    def _recycler_options(self) -> tuple[str, ...]:
        spans = self.plan.spans
        return (
            *("--data", str(self.plan.part), "--bar", self.plan.bar, "--speed", "max", "--mode", "date_range", "--hold", "--lockstep"),
            *("--from", rfc3339(spans.replay_from_ns), "--to", rfc3339(spans.replay_to_ns), "--cash", str(CAPITAL_USD)),
            *("--participants", f"portfolio,{PARTICIPANT}", "--ack-limit-s", "30"),
            *(("--state-dir", str(self.state_dir)) if KEEPS_LOG else ()),
        )

    def open(self, *, rollouts: bool = False) -> None:
        """Pairs and pointers declared, everything started and ready, the market held at its first bar. rollouts: the candidate, too."""
        self.state_dir.mkdir(parents=True, exist_ok=True)
        writer = KafkaWriter(self.servers.kafka, "tandem-chaos")
        try:
            pointers = [
                RoutingPointer(sector=SectorId(sector), version=ref.version, digest=ref.digest, epoch=1)
                for sector, ref in self.models.refs.items()
            ]
            publish_control(writer, *self.plan.pairs, *pointers)
        finally:
            writer.close()
        for name, service in self._services.items():
            self._running[name] = self._launcher.start(service, self.folder)
            if name == "recycler":
                self.until("the recycler is ready", lambda: self.ready("recycler"))
        if rollouts:
            self.start_candidate()
        self.until("all services are ready", lambda: all(map(self.ready, self._services)))
        self._begun = True  # a look that finds the market held starts it
        self.until("the market is started", lambda: self.status.get("state", "held") != "held")

    def close(self) -> None:
        """End every service."""
        self.stop_standby()
        for process in self._running.values():
            if process.exit_code is None:
                machine.send(process.pid, signal.SIGKILL)
        until = time.monotonic() + 10
        while any(process.exit_code is None for process in self._running.values()) and time.monotonic() < until:
            time.sleep(_POLL_S)
        self._http.close()

    # The market's clock

    def run_to(self, bar: int, meanwhile: Callable[[], None]) -> None:
        """Let the market run until a bar has been reached, and hold it there. meanwhile: called again and again on the way."""
        watermark_ns = self.plan.watermark_ns
        self._acked_ns = max(self._acked_ns, int(watermark_ns[bar - 1]))

        def reached() -> bool:
            meanwhile()
            return bool(self.status.get("watermark_ns", 0) >= int(watermark_ns[bar]))

        self.until(f"bar {bar}", reached)

    def let_go(self, bar: int | None) -> None:
        """Let the market run up to a bar, to its end when None; does not wait."""
        last = len(self.plan.watermark_ns) - 1
        self._acked_ns = max(self._acked_ns, int(self.plan.watermark_ns[last if bar is None else bar - 1]))
        self.look()

    def has_ended(self) -> bool:
        """The market has sent everything."""
        return bool(self.status.get("state") == "ended")

    @property
    def decided_ns(self) -> int:
        """The newest bar that the portfolio has acknowledged."""
        return next((int(row["acked_ns"]) for row in self.status.get("participants", ()) if row["name"] == "portfolio"), 0)

    def until(self, what: str, reached: Callable[[], bool], limit_s: float = _READY_S) -> float:
        """Look after the platform until something is so; the seconds that it took. Raises Stuck."""
        began_s = time.monotonic()
        while not reached():
            if time.monotonic() - began_s > limit_s:
                raise Stuck(f"{what}: not within {limit_s:.0f} s; market {self._where()}; not ready: {self._not_ready()}")
            self.look()
            time.sleep(_POLL_S)
        return time.monotonic() - began_s

    def look(self) -> None:
        """Start what is dead, note what is ready again, tell the market how far it may go."""
        now_s = time.monotonic()
        for name in (*self._services, *NAMES):
            if self._is_dead(name) and not any(r.name == name and r.ready_s is None and not r.started for r in self.recoveries):
                self.recoveries.append(Recovery(name=name, asked=name in self._asked, died_s=now_s))
                self._asked.discard(name)
        for recovery in self.recoveries:
            if recovery.started or recovery.name in self._kept_down or now_s - recovery.died_s < _RESTART_S:
                continue
            recovery.started = self._start_again(recovery.name)
        if now_s - self._probed_s > _PROBE_S:
            self._probed_s = now_s
            for recovery in self.recoveries:
                if recovery.started and recovery.ready_s is None and self.ready(recovery.name):
                    recovery.ready_s = time.monotonic()
        for name, share in self._throttled.items():
            (self.resume if now_s % _SLICE_S < share * _SLICE_S else self.pause)(name)
        self._ask_market()
        self._note_stall()

    def _note_stall(self) -> None:
        """How long the market has stood still although nobody but the platform holds it."""
        now_s, watermark_ns = time.monotonic(), int(self.status.get("watermark_ns", 0))
        held = not self._begun or watermark_ns >= self._acked_ns or self.has_ended()
        if held or watermark_ns != self._moved_to_ns:
            self._moved_s, self._moved_to_ns = now_s, watermark_ns
        self.stalled_s = max(self.stalled_s, now_s - self._moved_s)

    def _ask_market(self) -> None:
        try:
            self.status = self._http.get(self._url("/tandem/v1/replay")).raise_for_status().json()
            told = {row["name"]: row["acked_ns"] for row in self.status["participants"]}
            if self.status["state"] == "held":
                if self._begun:
                    self._command("start")  # it was killed: it goes on where its log ends, when it is told to
            elif told.get(PARTICIPANT, 0) < self._acked_ns:
                self._command("ack", {"name": PARTICIPANT, "watermark_ns": self._acked_ns})
        except httpx.HTTPError:
            pass  # it is dead or paused; what is waited for has a limit

    def _command(self, name: str, body: Mapping[str, Any] | None = None) -> None:
        self._http.post(self._url(f"/tandem/v1/replay/{name}"), json=dict(body or {})).raise_for_status()

    def ask_recycler(self, method: str, path: str, body: object = None) -> httpx.Response:
        """A request to the recycler itself, past the proxies, again until it is answered: another fault may have killed it just now.

        One that a fault has paused goes on for it: its pause is shorter then.
        """
        answers: list[httpx.Response] = []

        def answered() -> bool:
            self.resume("recycler")
            with suppress(httpx.HTTPError):
                answers.append(self._http.request(method, self._url(path), json=body))
            return bool(answers) and not answers[-1].is_server_error

        self.until(f"the recycler's answer to {method} {path}", answered)
        return answers[-1]

    def _url(self, path: str) -> str:
        return f"http://{HOST}:{self.servers.ports.recycler}{path}"

    # Hands

    def named(self, target: str) -> str:
        """The service that a fault's target means: "forecaster" is the first sector's."""
        return next((name for name in self._services if name.startswith(f"{target}-")), target)

    def kill(self, name: str) -> None:
        """kill -9 of a service or server."""
        if self._is_dead(name):
            return
        self._asked.add(name)
        if name in NAMES:
            self.servers.kill(name)
        else:
            machine.send(self._running[name].pid, signal.SIGKILL)

    def pause(self, name: str) -> None:
        """SIGSTOP."""
        if name in NAMES:
            self.servers.pause(name)
        elif not self._is_dead(name):
            machine.send(self._running[name].pid, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT."""
        if name in NAMES:
            self.servers.resume(name)
        elif not self._is_dead(name):
            machine.send(self._running[name].pid, signal.SIGCONT)

    def keep_down(self, name: str, down: bool) -> None:
        """Do not start it again, or do again."""
        (self._kept_down.add if down else self._kept_down.discard)(name)

    def limit_files(self, name: str, bytes_max: int | None) -> None:
        """No file of a service or server may grow beyond so many bytes, also of one that starts later; None: as it was."""
        if bytes_max is None:
            self._files_max.pop(name, None)
        else:
            self._files_max[name] = bytes_max
        self._limit(name)

    def _limit(self, name: str) -> None:
        bytes_max = self._files_max.get(name)
        for pid in () if self._is_dead(name) else self.servers.pids(name) if name in NAMES else (self._running[name].pid,):
            machine.limit_files(pid, bytes_max)

    def set_clock(self, name: str, seconds: float) -> None:
        """A service's clock is off by so much from now on, 0 for not at all; one that starts meanwhile finds it so."""
        clock_file(self.folder, name).write_text(str(seconds))
        if self.ready(name):  # before, it might not yet know the signal; it looks by itself when it starts
            machine.send(self._running[name].pid, LOOK)

    def throttle(self, name: str, share: float | None) -> None:
        """Let a service run for a share of the time only; None: again as it was."""
        if share is None:
            self._throttled.pop(name, None)
            self.resume(name)
        else:
            self._throttled[name] = share

    def start_candidate(self) -> None:
        """The forecaster of a sector's other version, looked after like the others from now on; nobody acts on it yet."""
        version = self.models.candidates[self.rollout_sector].version
        service = self._maker.forecaster(self.rollout_sector, version, len(self.models.refs))
        self._services[service.name] = service
        self._running[service.name] = self._launcher.start(service, self.folder)

    def switched(self, took_s: float, limit_s: float) -> None:
        """The kill switch is in force."""
        self.switches.expect(took_s <= limit_s, f"{took_s:.2f} s after it was taken, allowed {limit_s:.0f}")

    def start_standby(self) -> None:
        """A second portfolio on another port."""
        service = self._services["portfolio"]
        env = service.env | {"TANDEM_PORT": str(self.servers.ports.portfolio + 1), "POD_NAME": "standby"}
        self._standby = self._launcher.start(Service(name="standby", argv=service.argv, env=env), self.folder)

    def stop_standby(self) -> None:
        """kill -9 of it."""
        if self._standby is not None and self._standby.exit_code is None:
            machine.send(self._standby.pid, signal.SIGKILL)
        self._standby = None

    def lives(self, name: str) -> bool:
        """Its process runs, ready or not. Looks after the platform, too."""
        return not self._is_dead(name)

    def ready(self, name: str) -> bool:
        """It runs and says that it can work."""
        if self._is_dead(name):
            return False
        if name in NAMES:
            return self.servers.ready(name)
        return http_ready(f"http://{HOST}:{self._services[name].port}/readyz") is None

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the ledger's database."""
        with closing(psycopg2.connect(self.servers.postgres_url)) as connection, connection.cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall()

    def _is_dead(self, name: str) -> bool:
        process = self.servers.child(name) if name in NAMES else self._running.get(name)
        return process is not None and process.exit_code is not None

    def _start_again(self, name: str) -> bool:
        """False while what is left of a server still holds its port."""
        if name not in NAMES:
            self._running[name] = self._launcher.start(self._services[name], self.folder)
        else:
            try:
                self.servers.restart(name)
            except Permanent:
                return False
        if name in self._files_max:
            self._limit(name)
        return True

    def _where(self) -> str:
        told = self.status
        return f"{told.get('state')} at bar {told.get('bars')} of {told.get('bars_total')}, waiting for {told.get('waiting_for')}"

    def _not_ready(self) -> str:
        ended = Counter(recovery.name for recovery in self.recoveries)
        missing = (name for name in (*self._services, *NAMES) if not self.ready(name))
        return ", ".join(f"{name} (ended {ended[name]} times)" for name in missing) or "nothing"
