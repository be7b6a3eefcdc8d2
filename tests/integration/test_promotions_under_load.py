"""A hundred promotions and rollbacks by the operator, while a replay trades on them and a client asks all the time.

Both versions forecast the same (one bundle under two digests), so whichever is acted on at a bar, the decision must be the same: a replay
with a hundred moves of the routing pointer makes exactly the orders and fills of one without. A forecast that was lost, or acted on twice,
would make others. Real API server, Kafka, Postgres, Redis, MLflow, recycler, ingestor, forecasters, portfolio, operator.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import psycopg2
import pytest
from kubernetes.client import ApiClient, CustomObjectsApi
from kubernetes.client.exceptions import ApiException

from cluster.control_plane import KubeApi
from free_ports import free_port
from model_cases import market, tiny_options
from operator_process import OperatorProcess, install_definitions, running_operator, wait_condition
from operator_world import Control, Servers
from pods import ready_pods
from replay_world import World, until
from service_client import Target, asking
from service_process import Service, running
from tandem.adapters import topics
from tandem.adapters.calendar import session_grid
from tandem.adapters.codec import decode_control, decode_forecasts
from tandem.adapters.kafka_log import create_topics
from tandem.adapters.postgres import upgrade
from tandem.adapters.registry_rest import Registry
from tandem.domain.control import PairSpec, RoutingPointer
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.units import NS_PER_S
from tandem.local.measure import read_all
from tandem.operator.gather import REQUEST
from tandem.quant.bundle import Bundle
from tandem.quant.panel import Panel
from tandem.rollout.registry_names import QUARANTINE_TAG
from tandem.trainer.main import SectorTask, train_sector
from tandem.trainer.sectors import register_sector

SECTOR = SectorId("flipped")
PAIR = PairId("AAA-BBB")
SYMBOLS = (Symbol("AAA"), Symbol("BBB"), Symbol("CCC"))
TRAINED_BARS, REPLAYED_BARS = 600, 1_800
FLIPS = 100
SPEED = 2 * 6.5 * 3600  # at most two daily bars a second: the market lasts 15 minutes, the moves two to seven
RESERVE = 0.2  # of the market, for after the last move
POLICY = {"replayRequired": False, "canary": [], "autoPromote": False, "watchBars": 100_000, "handover": "HandOver"}
_ORDERS = """SELECT pair, leg, symbol, side, qty, limit_usd, decided_ns, status, filled_qty FROM orders
             WHERE book = %(book)s ORDER BY decided_ns, pair, leg"""
_FILLS = """SELECT fills.pair, fills.symbol, fills.side, fills.qty, price_usd, event_ns FROM fills
            WHERE book = %(book)s ORDER BY event_ns, pair, symbol"""


Traded = tuple[list[tuple[Any, ...]], list[tuple[Any, ...]], dict[str, int]]  # orders, fills, intents by model


@dataclass(slots=True)
class Market(World):
    """A recorded market of three stocks, and everything that trades it."""

    file: Path = Path()
    ingestor_port: int = 0

    @property
    def data(self) -> Path:
        """The recorded closes."""
        return self.file

    def start_ingestor(self) -> None:
        """From the recycler to Kafka."""
        environ = self.environment() | {
            "TANDEM_PORT": str(self.ingestor_port),
            "TANDEM_ALPACA_DATA_URL": f"ws://127.0.0.1:{self.recycler_port}/v2/iex",
        }
        with (self.folder / "ingestor.log").open("ab") as output:
            argv = [sys.executable, "-m", "tandem.ingestor.main"]
            process = subprocess.Popen(argv, env=environ, stdout=output, stderr=output)
        self.processes.append(process)
        until("ingestor is ready", lambda: self.alive(process) and _is_ready(f"http://127.0.0.1:{self.ingestor_port}"))

    def traded(self) -> Traded:
        """Orders and fills of the newest book, without what names the model; and how many intents each model's digest made."""
        book = self.rows("SELECT max(book) FROM books")[0][0]
        with psycopg2.connect(self.postgres_url) as connection, connection.cursor() as cursor:
            cursor.execute(_ORDERS, {"book": book})
            orders = cursor.fetchall()
            cursor.execute(_FILLS, {"book": book})
            fills = cursor.fetchall()
            cursor.execute("SELECT model_digest, count(*) FROM intents WHERE book = %s GROUP BY 1", (book,))
            intents = dict(cursor.fetchall())
        connection.close()
        return orders, fills, intents


@dataclass
class Stand:
    """The sector under the operator, with its two versions."""

    api: KubeApi
    namespace: str
    registry: Registry
    control: Control
    stable: ModelRef
    candidate: ModelRef

    def rollouts(self, client: ApiClient) -> "Rollouts":
        """The candidate's ModelRollout through one kept connection: kubectl would start a process for each question."""
        return Rollouts(CustomObjectsApi(client), self.namespace, f"{SECTOR}-v{self.candidate.version}")

    def promote(self, rollouts: "Rollouts") -> None:
        """A new rollout of the candidate, promoted by a person's word; returns when the pointer has moved."""
        self.registry.delete_tag(self.candidate.name, self.candidate.version, QUARANTINE_TAG)
        rollouts.delete()  # its version may be tried again
        until("the shadow", lambda: rollouts.status().get("step") == "Shadow")
        rollouts.ask("promote")
        until("the promotion", lambda: self.routed() == self.candidate.version)

    def rollback(self, rollouts: "Rollouts") -> None:
        """The promotion taken back by a person's word; returns when the pointer has moved and the rollout has ended."""
        until("the watch", lambda: rollouts.status().get("step") == "Watch")
        rollouts.ask("rollback")
        until("the rollback", lambda: self.routed() == self.stable.version)
        until("its end", lambda: rollouts.status().get("step") == "Done")

    def routed(self) -> str:
        """The version that the pointer names now."""
        return self.control.table().pointers[SECTOR].version

    def pointers(self) -> list[RoutingPointer]:
        """All pointers of the sector, in order."""
        self.control.table()
        records = [decode_control(value) for key, value in self.control.history if key == f"routing/{SECTOR}" and value]
        return [record for record in records if isinstance(record, RoutingPointer)]


@dataclass
class Rollouts:
    """One ModelRollout, as a person sees and annotates it."""

    api: CustomObjectsApi
    namespace: str
    name: str

    @property
    def _place(self) -> tuple[str, str, str, str, str]:
        return "tandem.trading", "v1alpha1", self.namespace, "modelrollouts", self.name

    def status(self) -> dict[str, Any]:
        """Empty when there is none."""
        try:
            return self.api.get_namespaced_custom_object(*self._place).get("status") or {}
        except ApiException as error:
            if error.status != 404:
                raise
            return {}

    def ask(self, request: str) -> None:
        """Annotate it."""
        self.api.patch_namespaced_custom_object(*self._place, {"metadata": {"annotations": {REQUEST: request}}})

    def delete(self) -> None:
        """If there is one."""
        try:
            self.api.delete_namespaced_custom_object(*self._place)
        except ApiException as error:
            if error.status != 404:
                raise


@pytest.fixture(scope="module")
def panel() -> Panel:
    """A labelled synthetic market whose bars lie on real sessions; two of its stocks belong together."""
    made = market(bars=TRAINED_BARS + REPLAYED_BARS, symbols=SYMBOLS)
    grid = session_grid("1d", 1_230_768_000 * NS_PER_S, 1_735_689_600 * NS_PER_S)  # 2009 to 2024
    return replace(made, close_ns=grid.close_ns[: len(made.close_ns)])


@pytest.fixture(scope="module")
def bundle(panel: Panel) -> Bundle:
    """A model of the first part."""
    task = SectorTask(sector=SECTOR, bar="1d", slots=1, declared=(PAIR,), data_digest="0" * 64)
    return train_sector(task, panel.before(TRAINED_BARS), tiny_options())


@pytest.fixture
def exchange(panel: Panel, postgres_url: str, redis_url: str, kafka_servers: str, tmp_path: Path) -> Iterator[Market]:
    """The market's file; nothing runs yet."""
    days = pd.to_datetime(panel.close_ns, unit="ns", utc=True).tz_convert("America/New_York").date
    columns = {"symbol": np.tile(SYMBOLS, len(days)), "date": np.repeat(days, len(SYMBOLS)), "close": panel.close.ravel()}
    file = tmp_path / "closes.parquet"
    pd.DataFrame(columns).to_parquet(file)
    made = Market(
        postgres_url=postgres_url,
        redis_url=redis_url,
        kafka=kafka_servers,
        folder=tmp_path,
        from_day=str(days[TRAINED_BARS]),
        to_day=str(days[-1]),
        file=file,
        ingestor_port=free_port(),
    )
    try:
        yield made
    finally:
        made.stop_all()


@contextmanager
def forecasters(world: Market, uri: str, versions: tuple[ModelRef, ...]) -> Iterator[dict[str, Service]]:
    """A forecaster's process for each version, by its number."""
    common = {
        "TANDEM_KAFKA_BOOTSTRAP_SERVERS": world.kafka,
        "TANDEM_POSTGRES_URL": world.postgres_url,
        "MLFLOW_TRACKING_URI": uri,
        "TANDEM_SECTOR": SECTOR,
        "TANDEM_BAR": "1d",
        "OMP_NUM_THREADS": "1",
    }
    with ExitStack() as stack:
        made = {}
        for ref in versions:
            own = {"TANDEM_MODEL_VERSION": ref.version, "BENTOML_HOME": str(world.folder / f"bentoml-{ref.version}")}
            made[ref.version] = stack.enter_context(running("forecaster", free_port(), common | own, world.folder))
        for service in made.values():
            until("forecasters are ready", lambda service=service: service.process.poll() is None and _is_ready(service.url))
        yield made


@pytest.mark.timeout(3600)
def test_a_hundred_promotions_and_rollbacks_change_no_decision_and_lose_no_answer(
    exchange: Market, bundle: Bundle, kube_api: KubeApi, kube_namespace: str, mlflow_uri: str
) -> None:
    """Same orders and fills as without any; each epoch once; no request that failed twice."""
    tmp_path = exchange.folder
    stable = register_sector(mlflow_uri, bundle)
    candidate = register_sector(mlflow_uri, replace(bundle, seed=bundle.seed + 1))  # another content, the same numbers
    assert candidate.digest != stable.digest
    install_definitions(kube_api)
    upgrade(exchange.postgres_url)
    create_topics(exchange.kafka, [SECTOR])
    servers = Servers(kafka=exchange.kafka, postgres=exchange.postgres_url, mlflow=mlflow_uri)
    control = Control(exchange.kafka)
    control.write(_pair())
    with (
        Registry(mlflow_uri, timeout_s=120.0) as registry,
        ready_pods(kube_api, kube_namespace),
        forecasters(exchange, mlflow_uri, (stable, candidate)) as services,
        running_operator(kube_api, servers.environ(tmp_path, kube_namespace), tmp_path) as operator,
    ):
        registry.set_alias(candidate.name, "candidate", "")  # its time comes with the second replay
        stand = Stand(kube_api, kube_namespace, registry, control, stable, candidate)
        _adopt(stand)
        quiet = _replayed(exchange, "quiet", lambda: exchange.speed("max"))
        urls = {version: service.url for version, service in services.items()}
        target = Target(kube_namespace, f"forecaster-{SECTOR}", urls, PAIR)

        def flips() -> None:
            exchange.speed(SPEED)
            registry.set_alias(candidate.name, "candidate", candidate.version)
            with asking(kube_api, target) as asked:
                _flip(stand, exchange, operator)
            print(f"{sum(asked.answers.values())} answers by version {dict(asked.answers)}, {asked.retries} retries, {asked.errors}")
            assert asked.errors == []
            assert set(asked.answers) == {stable.version, candidate.version}
            exchange.speed("max")

        flipped = _replayed(exchange, "flipped", flips)
        # The portfolio has decided the last bar by the forecasts of one version; the other's may still be on their way.
        until("both versions to have forecast to the end", lambda: len(_ended(exchange)) == 4)
        print(operator.tail()[-500:])
    assert [(p.epoch, p.version) for p in stand.pointers()] == [
        (1 + move, candidate.version if move % 2 else stable.version) for move in range(FLIPS + 1)
    ]
    orders, fills, intents = flipped
    assert len(orders) > 50
    assert set(intents) == {stable.digest, candidate.digest}, "both versions were acted on"
    assert (orders, fills) == quiet[:2]
    _check_forecasts(exchange, stable, candidate)
    control.close()


def _adopt(stand: Stand) -> None:
    """The stable version is acted on."""
    document = {
        "apiVersion": "tandem.trading/v1alpha1",
        "kind": "SectorModel",
        "metadata": {"name": SECTOR},
        "spec": {"sector": SECTOR, "rollout": POLICY},
    }
    stand.registry.set_alias(stand.stable.name, "champion", stand.stable.version)
    stand.api.apply(document, namespace=stand.namespace)
    wait_condition(stand.api, stand.namespace, "sectormodel", SECTOR, {"Ready": ("True", "Serving")})


def _replayed(world: Market, label: str, meanwhile: Callable[[], None]) -> Traded:
    """What was traded in one replay from its first bar to its last. meanwhile: runs while the market does."""
    before = len(world.processes)
    world.start_recycler("--label", label)
    world.start_ingestor()
    world.start_portfolio()
    world.begin()
    meanwhile()
    world.finish()
    traded = world.traded()
    for process in world.processes[before:]:
        world.stop(process)
    return traded


def _flip(stand: Stand, world: Market, operator: OperatorProcess) -> None:
    """Promotions and rollbacks in turn, with how long each took to be acted on by the portfolio."""
    started_s, acted_on_s = time.monotonic(), []
    with stand.api.client() as client:
        rollouts = stand.rollouts(client)
        for _ in range(FLIPS // 2):
            for move, version in ((stand.promote, stand.candidate.version), (stand.rollback, stand.stable.version)):
                assert operator.process.poll() is None, operator.tail()
                move(rollouts)
                moved_s = time.monotonic()
                until("the portfolio to act on it", lambda version=version: _acted_on(world) == version, 240.0)
                acted_on_s.append(time.monotonic() - moved_s)
                _keep_pace(world, len(acted_on_s))
    p50, p99 = np.percentile(acted_on_s, [50, 99])
    took_s = time.monotonic() - started_s
    print(f"{FLIPS} moves in {took_s:.0f} s; from the pointer to the first decision of its version p50 {p50:.2f} s, p99 {p99:.2f} s")


def _keep_pace(world: Market, moves: int) -> None:
    """Slow the market where moves take so long that it would be over before the last of them."""
    place = world.replay()
    assert place is not None
    assert place["state"] != "ended", f"the market ended after {moves} moves"
    if moves < FLIPS:
        left = (1 - RESERVE - place["progress"]) / (1 - moves / FLIPS)
        world.speed(SPEED * max(0.1, min(1.0, left)) ** 2)


def _acted_on(world: Market) -> str:
    """The version whose forecast the portfolio acted on last."""
    (pair,) = [pair for pair in world.ask("pairs") if pair["pair"] == PAIR]
    return (pair["forecast"] or {}).get("version", "")


def _ended(world: Market) -> set[tuple[str, str]]:
    """Version and replay of each stream of forecasts that is whole."""
    batches = (decode_forecasts(record.value or b"") for record in read_all(world.kafka, topics.FORECASTS))
    return {(batch.model.version, batch.replay_id) for batch in batches if batch.sector == SECTOR and batch.end_of_stream}


def _check_forecasts(world: Market, *versions: ModelRef) -> None:
    """Of each version one batch for each bar of each replay, the same whenever it is there twice."""
    bars: dict[tuple[str, str], dict[int, Any]] = {}
    for record in read_all(world.kafka, topics.FORECASTS):
        batch = decode_forecasts(record.value or b"")
        if batch.sector == SECTOR:
            known = bars.setdefault((batch.model.version, batch.replay_id), {})
            key = batch.bar_close_ns + batch.end_of_stream
            assert known.setdefault(key, batch) == batch
    assert {version for version, _ in bars} == {ref.version for ref in versions}
    assert len({tuple(sorted(times)) for times in bars.values()}) == 1, {key: len(times) for key, times in bars.items()}


def _pair() -> PairSpec:
    return PairSpec(
        pair=PAIR,
        sector=SECTOR,
        leg_a=SYMBOLS[0],
        leg_b=SYMBOLS[1],
        entry_z=1.0,
        exit_z=0.2,
        stop_z=6.0,
        probability_min=0.0,
        notional_usd=Decimal(50_000),
        hold_half_lives_max=6.0,
    )


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=30).status_code == 200
    except httpx.TransportError:
        return False
