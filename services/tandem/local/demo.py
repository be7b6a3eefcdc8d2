"""The demo: the whole platform on one machine over recorded data. Train, replay, report, stop.

Every part is the one that `tandem up` runs; nothing here takes part in the flow. Called by cli/demo.py and by tests.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import httpx

from tandem.adapters import topics
from tandem.adapters.alpaca_broker import AlpacaBroker
from tandem.adapters.config_files import load_pairs, load_sectors
from tandem.adapters.control_log import publish_control
from tandem.adapters.kafka_log import KafkaWriter, create_topics
from tandem.adapters.market_file import MarketData, load_market_data
from tandem.adapters.postgres import connect, upgrade
from tandem.adapters.skfolio_data import skfolio_dataset
from tandem.domain.control import PairSpec, RoutingPointer
from tandem.domain.errors import Permanent, Transient
from tandem.domain.ids import SectorId
from tandem.domain.units import cents, rfc3339
from tandem.local import report as reporting
from tandem.local.demo_plan import SectorPlan, Spans, bar_of, sectors_of, spans_of
from tandem.local.measure import count_kafka, end_offsets, tick_prices
from tandem.local.platform import Platform
from tandem.local.probes import HOST
from tandem.local.replay_watch import Progress, ReplayWatch
from tandem.local.training import TrainedSectors, TrainingJob, TrainingWorker
from tandem.settings import Settings

# Where no data is named: five years of daily closes to train on, the six that follow to replay. Fixed before any result was seen.
DEFAULT_TRAIN_FROM, DEFAULT_REPLAY_FROM = "2012-01-01", "2017-01-01"
CAPITAL_USD = "1000000"
_MARKER = ".tandem-demo"  # only a folder that holds it is ever emptied
_READY_S = 120.0
_DRAIN_S = 120.0  # after the market's end: the recorder writes what is left
_POLL_S = 0.25
_SAMPLE_S = 2.0  # between two looks at the memory of all processes: the kernel walks their pages for each


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What a user may choose. Times as text: YYYY-MM-DD is midnight in New York."""

    home: Path
    data: Path | None = None
    train_from: str | None = None
    replay_from: str | None = None
    replay_to: str | None = None
    bar: str | None = None
    speed: str = "max"
    pairs: tuple[str, ...] = ()
    sectors: tuple[str, ...] = ()  # only these; all that the data serves when empty
    seed: int | None = None
    port_base: int = 28_000


@dataclass(kw_only=True)
class Demo:
    """One run. `say` takes a line when a stage is done, `show` what the replay is at.

    keep: called with the report while everything still runs, and with what raises ChildFailed once a part has ended by itself; its return
    stops the platform. With it a dashboard runs too.
    """

    options: DemoOptions
    settings: Settings
    say: Callable[[str], None]
    show: Callable[[Progress], None]
    keep: Callable[[reporting.Report, Callable[[], None]], None] | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    memory_peak_bytes: int = 0
    _sampled_s: float = field(default=0.0, init=False)

    def run(self) -> reporting.Report:
        """The report, after everything is stopped. Raises TandemError with one clear reason."""
        started_s = time.monotonic()
        path = self.options.data or skfolio_dataset(self.options.home.parent / "data" / "us_stocks_20_daily.parquet")
        data = load_market_data(path)
        bar = self.options.bar or bar_of(data)
        spans = self._spans(data, bar)
        plans = self._plans(data)
        self.say(f"{path.name}: {len(data.ticks):,} ticks of {len(data.symbols)} symbols; sectors {', '.join(p.sector for p in plans)}")
        del data  # the services read it for themselves
        _empty(self.options.home)
        job = TrainingJob(
            path=path,
            spans=spans,
            bar=bar,
            plans=plans,
            config_dir=self.settings.config_dir,
            seed=self.options.seed,
            log=self.options.home / "logs" / "training.log",
        )
        with (
            Platform(self.options.home, self.settings, self.options.port_base, report=self.say) as platform,
            TrainingWorker(job) as worker,
        ):
            platform.tell("starting", bar=bar)
            endpoints = platform.start_servers()
            upgrade(endpoints.postgres)
            create_topics(endpoints.kafka, [plan.sector for plan in plans])
            worker.fit(self.say)
            self._lap("train", started_s)
            platform.wait_mlflow()
            trained = worker.register(endpoints.mlflow, self.say)
            worker.close()
            self._lap("register", started_s)
            self._declare(endpoints.kafka, plans, trained)
            self._start_services(platform, path, bar, spans, trained)
            platform.tell("ready", bar=bar)  # so that `tandem top`, `audit` and `backup` find what a demo left up holds
            self._lap("ready", started_s)
            self.say("all services are ready: the replay starts")
            played = self._replay(platform, list(trained.models))
            self._lap("replay", started_s)
            report = self._report(platform, path, bar, trained, played)
            if self.keep is not None:
                self.keep(report, platform.check)
            return report

    def _lap(self, name: str, started_s: float) -> None:
        self.seconds[name] = round(time.monotonic() - started_s - sum(self.seconds.values()), 2)

    def _spans(self, data: MarketData, bar: str) -> Spans:
        options = self.options
        default = options.data is None
        return spans_of(
            data,
            bar,
            train_from=options.train_from or (DEFAULT_TRAIN_FROM if default else None),
            replay_from=options.replay_from or (DEFAULT_REPLAY_FROM if default else None),
            replay_to=options.replay_to,
        )

    def _plans(self, data: MarketData) -> tuple[SectorPlan, ...]:
        config = self.settings.config_dir
        plans = sectors_of(data, load_sectors(config), load_pairs(config), self.options.pairs)
        if not self.options.sectors:
            return plans
        if unknown := set(self.options.sectors) - {plan.sector for plan in plans}:
            raise Permanent(f"sector {', '.join(sorted(unknown))}: the data serves {', '.join(plan.sector for plan in plans)}")
        return tuple(plan for plan in plans if plan.sector in self.options.sectors)

    def _declare(self, kafka: str, plans: tuple[SectorPlan, ...], trained: TrainedSectors) -> None:
        """Declared pairs, and those that the trainer's screening added; then the pointers, from when on the models are acted on."""
        specs = {spec.pair: spec for plan in plans for spec in plan.declared}
        for sector, model in trained.models.items():
            for pair in model.bundle.pairs:
                specs.setdefault(pair.pair, PairSpec(pair=pair.pair, sector=SectorId(sector), leg_a=pair.leg_a, leg_b=pair.leg_b))
        pointers = [
            RoutingPointer(sector=SectorId(sector), version=model.ref.version, digest=model.ref.digest, epoch=1)
            for sector, model in trained.models.items()
        ]
        writer = KafkaWriter(kafka, "tandem-demo")
        try:
            publish_control(writer, *specs.values(), *pointers)
        finally:
            writer.close()

    def _start_services(self, platform: Platform, path: Path, bar: str, spans: Spans, trained: TrainedSectors) -> None:
        services = platform.services(bar=bar)
        recycler = services.recycler(
            (
                *("--data", str(path), "--bar", bar, "--speed", self.options.speed, "--mode", "date_range", "--hold"),
                *("--from", _iso(spans.replay_from_ns), "--to", _iso(spans.replay_to_ns)),
                *("--participants", "portfolio", "--cash", CAPITAL_USD, "--lockstep"),
            )
        )
        started = [platform.start(recycler), platform.start(services.recorder())]
        for index, (sector, model) in enumerate(trained.models.items()):
            started.append(platform.start(services.forecaster(sector, model.ref.version, index)))
        platform.wait_ready([recycler.name], _READY_S)  # the next two connect to it
        started += [platform.start(services.ingestor()), platform.start(services.portfolio(capital_usd=CAPITAL_USD))]
        if self.keep is not None:
            started.append(platform.start(services.dashboard()))
        platform.wait_ready([child.name for child in started], _READY_S)
        if self.keep is not None:
            self.say(f"the dashboard is at http://{HOST}:{platform.ports.dashboard}")

    def _replay(self, platform: Platform, sectors: Sequence[str]) -> tuple[Progress, float]:
        """Let the market run until its end has been acted on; that end and the wall time it took. A replay begun again is followed, too."""
        with httpx.Client(timeout=10, headers=_KEYS) as http:
            ports = platform.ports
            watch = ReplayWatch(
                http, market=f"http://{HOST}:{ports.recycler}/tandem/v1/replay", portfolio=f"http://{HOST}:{ports.portfolio}/v1"
            )
            watch.start()
            started_s = time.monotonic()
            while True:
                now = self._look(platform, watch)
                self._sample(platform)
                self.show(now)
                platform.check()
                if now.state == "ended":
                    break
                time.sleep(_POLL_S)
            elapsed_s = time.monotonic() - started_s
            self._drain(platform, sectors, now.replay_id)
            return now, elapsed_s

    def _look(self, platform: Platform, watch: ReplayWatch) -> Progress:
        """Where it is; when nobody answers, a part that has ended is the better reason. Raises ChildFailed, Transient."""
        try:
            return watch.look()
        except Transient:
            platform.check()
            raise

    def _drain(self, platform: Platform, sectors: Sequence[str], run: str) -> None:
        """Wait until the portfolio has made its last comparison and the recorder has written everything."""
        deadline_s = time.monotonic() + _DRAIN_S
        with closing(connect(platform.endpoints.postgres)) as connection:
            book = reporting.Book(connection, run)
            while True:
                platform.check()
                compared = book.is_closed
                if compared and _recorder_has_caught_up(platform.endpoints.kafka, sectors, book):
                    return
                if time.monotonic() > deadline_s:
                    who = "the recorder has not written all records" if compared else "the portfolio has not closed its book"
                    raise Transient(f"{_DRAIN_S:.0f} s after the end of the replay {who}")
                time.sleep(_POLL_S)

    def _sample(self, platform: Platform) -> None:
        if time.monotonic() - self._sampled_s >= _SAMPLE_S:
            self.memory_peak_bytes = max(self.memory_peak_bytes, sum(platform.memory_bytes().values()))
            self._sampled_s = time.monotonic()

    def _report(
        self, platform: Platform, path: Path, bar: str, trained: TrainedSectors, played: tuple[Progress, float]
    ) -> reporting.Report:
        """Of the replay that came to its end: one that somebody left for it had an account and a book of its own."""
        endpoints, (end, replay_s) = platform.endpoints, played
        sectors, run = list(trained.models), end.replay_id
        counts = count_kafka(endpoints.kafka, sectors, run)
        broker = AlpacaBroker(key_id="recycled", secret_key="recycled", url=f"http://{HOST}:{platform.ports.recycler}")  # noqa: S106 no secret
        with closing(connect(endpoints.postgres)) as connection:
            book = reporting.Book(connection, run)
            spread = book.spread_cost(tick_prices(endpoints.kafka, sectors, book.fill_keys()))
            fees, equity = reporting.fees_usd(book), reporting.equity_usd(book, counts.last_price)
            differences = reporting.compare(book, broker)
            return reporting.Report(
                data={
                    "file": path.name,
                    "digest": trained.data_digest,
                    "replayed": reporting.span(counts.first_event_ns, counts.last_event_ns),
                    "replay_id": run,
                },
                bar=bar,
                speed=self.options.speed,
                ticks_replayed=end.ticks,
                ticks_in_kafka=counts.ticks,
                ticks_doubled=counts.ticks_doubled,
                frames_in_kafka=counts.frames,
                bars=book.count("bars"),
                forecasts=counts.forecasts,
                forecasts_scored=book.count("forecast_scores"),
                signals=book.count("signals"),
                intents=book.count("intents"),
                orders=book.count("orders"),
                fills=book.count("fills"),
                round_trips=book.count("pair_trades", "closed_ns IS NOT NULL"),
                pnl_usd=str(equity - cents(Decimal(CAPITAL_USD))),
                costs_usd=str(fees + spread),
                fees_usd=str(fees),
                spread_cost_usd=str(spread),
                equity_usd=str(equity),
                open_pairs=book.count("pair_states", "state <> 'flat'"),
                ledger_equals_broker=not differences,
                differences=differences,
                unhedged_seconds_max=book.unhedged_s_max(),
                parked_records=counts.parked,
                tick_to_forecast_ms=reporting.latency_ms(counts),
                ticks_per_second=round(end.ticks / max(replay_s, 1e-9), 1),
                replay_seconds=round(replay_s, 3),
                memory_peak_mib=round(self.memory_peak_bytes / 2**20, 1),
                models=trained.document(),
                skipped_sectors=dict(trained.skipped),
                decisions_digest=book.decisions_digest(),
                seconds=self.seconds,
            )


def _recorder_has_caught_up(kafka: str, sectors: Sequence[str], book: reporting.Book) -> bool:
    """Whether the recorder's positions, which it writes with its rows, have reached the end of its topics."""
    written = {topic: int(offset) for topic, offset in book.rows("SELECT topic, next_offset FROM consumer_positions")}
    names = [topics.FORECASTS, *map(topics.ticks, sectors)]
    return all(written.get(topic, 0) >= end for topic, end in end_offsets(kafka, names).items())


def _empty(home: Path) -> None:
    """Make a new home. Raises Permanent rather than empty a folder that no demo made."""
    if home.exists() and any(home.iterdir()):
        if not (home / _MARKER).exists():
            raise Permanent(f"{home} holds something that no demo wrote: name another folder with --home")
        shutil.rmtree(home)
    home.mkdir(parents=True, exist_ok=True)
    (home / _MARKER).touch()


def _iso(ns: int) -> str:
    return rfc3339(ns)


_KEYS = {"APCA-API-KEY-ID": "recycled", "APCA-API-SECRET-KEY": "recycled"}  # the recycler takes any
