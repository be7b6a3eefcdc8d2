"""What `tandem up` runs: servers, schema, topics, declared pairs, services, and then the watch over them until it is stopped.

The forecasters follow the routing pointers of the control topic and the rollouts of new versions (rollouts.py). A sector without a pointer
gets one as soon as a forecaster of its first version is ready.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from tandem.adapters.config_files import load_pairs, load_sectors
from tandem.adapters.kafka_log import create_topics
from tandem.adapters.market_symbols import symbols_of_file
from tandem.adapters.model_files import load_models, model_of
from tandem.adapters.postgres import upgrade
from tandem.adapters.skfolio_data import skfolio_dataset
from tandem.domain.control import PairSpec, control_key
from tandem.domain.errors import Permanent, TandemError, Transient
from tandem.domain.ids import Symbol
from tandem.local.control import ControlTopic
from tandem.local.forecasters import Fleet
from tandem.local.platform import Platform
from tandem.local.probes import HOST
from tandem.local.rollouts import Rollouts
from tandem.local.services import RECYCLED
from tandem.rollout.candidates import NO_CANDIDATE
from tandem.rollout.declare import Verb, plan
from tandem.settings import Settings

_CLIENT_ID = "tandem-supervisor"
_READY_S = 120.0
_BAR_S = {"1min": 60, "5min": 300, "1d": 23_400}  # of market time: in a replay the nights take none


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """What a user may choose for the market. Times as the recycler takes them."""

    data: Path | None = None  # the 20 stocks of the skfolio wheel
    bar: str = ""  # 1d for those, else Settings' bar
    speed: str = ""  # one bar a second
    mode: str = ""
    from_time: str = ""
    to_time: str = ""


class Supervisor:
    """One life of the platform. `say` takes what happens, one sentence each."""

    def __init__(self, platform: Platform, settings: Settings, options: UpOptions, say: Callable[[str], None]) -> None:
        self._platform, self._settings, self._options, self._say = platform, settings, options, say
        self._bar = options.bar or ("1d" if options.data is None else settings.bar)
        if self._bar not in _BAR_S:
            raise Permanent(f"--bar {self._bar}: allowed are {', '.join(_BAR_S)}")
        self._recycled = settings.source == RECYCLED
        self._sectors = load_sectors(settings.config_dir)
        self._pairs = load_pairs(settings.config_dir)
        self._models = load_models(settings.config_dir)
        self._control: ControlTopic | None = None
        self._fleet: Fleet | None = None
        self._rollouts: Rollouts | None = None
        self._released_pid = 0  # the recycler whose replay was started: one that was restarted is held again
        self._told_without_model = False
        self._warned = ""

    def start(self) -> None:
        """Everything up to the point where the market may run. Raises Permanent or Transient with one reason."""
        self._platform.tell("starting", bar=self._bar)
        data = self._data_file() if self._recycled else None
        present = None if data is None else set(symbols_of_file(data))
        endpoints = self._platform.start_servers()
        upgrade(endpoints.postgres)
        create_topics(endpoints.kafka, self._sectors.sectors)
        self._control = ControlTopic(endpoints.kafka, _CLIENT_ID)
        self._declare(self._control, present)
        self._start_services(data)
        self._platform.wait_mlflow()
        self._fleet = Fleet(self._platform, self._platform.services(bar=self._bar, source=self._settings.source), self._say)
        models = {sector: model_of(self._models, sector) for sector in self._sectors.active}
        self._rollouts = Rollouts(self._control, self._fleet, endpoints, models, self._say, source=self._settings.source)
        self.watch()
        self._platform.tell("ready", bar=self._bar)

    def watch(self) -> None:
        """One look at everything: dead children, rollouts, the market. Called again and again."""
        assert self._control is not None, "start() comes first"
        assert self._fleet is not None
        assert self._rollouts is not None
        for sentence in self._platform.revive():
            self._say(sentence)
        self._rollouts.look()
        self._tell_without_model(self._rollouts, self._control)
        self._release_market(self._control, self._fleet)

    def warn(self, error: TandemError) -> None:
        """Say it, once for as long as it is the same."""
        if str(error) != self._warned:
            self._warned = str(error)
            self._say(f"warning: {error}")

    def close(self) -> None:
        """Let go of Kafka, before it is stopped."""
        if self._rollouts is not None:
            self._rollouts.close()
        if self._control is not None:
            self._control.close()

    def _data_file(self) -> Path:
        if self._options.data is None:
            return skfolio_dataset(self._platform.home / "data" / "skfolio-20.parquet")
        if not self._options.data.is_file():
            raise Permanent(f"--data {self._options.data}: no such file")
        return self._options.data.resolve()

    def _declare(self, control: ControlTopic, present: set[Symbol] | None) -> None:
        """Publish the pairs of config/pairs that the control topic does not hold as they are now.

        present: the symbols of a recording. A pair that it cannot serve is not declared, or withdrawn: the recycler invents nothing, and
        the ingestor would wait for it for ever. The same for a pair of config/pairs that sectors.yaml leaves out of use.
        """
        table = control.table
        idle = {spec.pair for spec in self._pairs if not self._sectors.in_use(spec)}
        wanted = [spec for spec in self._pairs if _served(spec, present) and spec.pair not in idle]
        changed = [change.spec for change in plan(table.pairs, wanted) if change.verb is not Verb.UNCHANGED]
        control.publish(*changed)
        withdrawn = [spec for spec in table.pairs.values() if not _served(spec, present) or spec.pair in idle]
        control.withdraw(control_key(spec) for spec in withdrawn)
        if changed:
            self._say(f"declared {', '.join(spec.pair for spec in changed)}")
        if unserved := sorted({spec.pair for spec in (*self._pairs, *withdrawn) if not _served(spec, present)}):
            self._say(f"not declared, since the data does not hold both legs: {', '.join(unserved)}")
        if idle:
            self._say(f"not declared, since not in use (`tandem symbols status` tells why): {', '.join(sorted(idle))}")

    def _start_services(self, data: Path | None) -> None:
        services = self._platform.services(bar=self._bar, source=self._settings.source)
        names = [self._platform.start(services.recorder()).name]
        if data is not None:
            self._platform.start(services.recycler(self._recycler_options(data)))
            self._platform.wait_ready(["recycler"], _READY_S)  # ingestor and portfolio connect to it
        for service in (services.ingestor(), services.portfolio(capital_usd=self._settings.capital_usd)):
            names.append(self._platform.start(service).name)
        dashboard = self._platform.start(services.dashboard())
        self._platform.wait_ready([*names, dashboard.name], _READY_S)
        self._say(f"the dashboard is at http://{HOST}:{dashboard.command.port}")

    def _recycler_options(self, data: Path) -> tuple[str, ...]:
        options = self._options
        speed = options.speed or str(_BAR_S[self._bar])
        lockstep = speed == "max" or float(speed) > 1
        ranged = bool(options.from_time or options.to_time)
        return (
            *("--data", str(data), "--bar", self._bar, "--speed", speed, "--hold"),
            *("--mode", options.mode or ("date_range" if ranged else "single_pass")),
            *(("--from", options.from_time) if options.from_time else ()),
            *(("--to", options.to_time) if options.to_time else ()),
            *(("--lockstep", "--participants", "portfolio") if lockstep else ()),
            *("--cash", self._settings.capital_usd),
            *self._account_options(),
        )

    def _account_options(self) -> tuple[str, ...]:
        """One account for each start of the platform; a recycler that dies meanwhile goes on with it, from its log."""
        label = self._next_label()
        return "--label", label, "--state-dir", str(self._platform.home / "exchange" / label)

    def _next_label(self) -> str:
        """Another one for each start: the paper exchange begins anew, so that the same data make another replay with ids of its own."""
        path = self._platform.children.run_dir / "replays"
        number = int(path.read_text()) + 1 if path.exists() else 1
        path.write_text(str(number))
        return f"up-{number}"

    def _tell_without_model(self, rollouts: Rollouts, control: ControlTopic) -> None:
        """How to make a first model, once."""
        pointers = control.table.pointers
        missing = [sector for sector, hold in rollouts.holds.items() if hold.reason == NO_CANDIDATE and sector not in pointers]
        if missing and not self._told_without_model:
            self._told_without_model = True
            self._say(
                f"no model yet for {', '.join(missing)}: `tandem train SECTOR --data FILE --home {self._platform.home}` makes one, "
                "and its forecaster starts by itself"
            )

    def _release_market(self, control: ControlTopic, fleet: Fleet) -> None:
        """Start the held replay once forecasters are ready and routed to: before, its bars would pass without anybody acting on them."""
        if not self._recycled or not fleet.running or not {v.sector for v in fleet.running} <= set(control.table.pointers):
            return
        recycler = self._platform.children.get("recycler")
        if recycler.pid == self._released_pid or recycler.command.why_not_ready() is not None:
            return
        forecasters = [child for child in self._platform.processes if child.name.startswith("forecaster-") and child.exit_code is None]
        if not forecasters or any(child.command.why_not_ready() is not None for child in forecasters):
            return
        url = f"http://{HOST}:{self._platform.ports.recycler}/tandem/v1/replay/start"
        try:
            answer = httpx.post(url, headers={"APCA-API-KEY-ID": RECYCLED, "APCA-API-SECRET-KEY": RECYCLED}, trust_env=False)
        except httpx.HTTPError as error:
            raise Transient(f"{url}: {error or type(error).__name__}") from error
        if not answer.is_success:
            raise Permanent(f"{url} answers {answer.status_code}: {answer.text[:200]}")
        self._released_pid = recycler.pid
        self._say("the market runs")


def _served(spec: PairSpec, present: set[Symbol] | None) -> bool:
    """True if the recording holds both legs; always on a live market."""
    return present is None or {spec.leg_a, spec.leg_b} <= present
