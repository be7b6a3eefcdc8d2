"""A sector whose rollouts are carried out without Kubernetes: real Kafka, Postgres and MLflow, recorder and forecasters as processes.

A labelled synthetic market; the models are one training whose variance is scaled, so that which of two is better is known.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from free_ports import free_base, free_port
from model_cases import market, tiny_options
from service_process import Service, running, wait_until
from tandem.adapters import topics
from tandem.adapters.calendar import session_grid
from tandem.adapters.codec import encode_frame, encode_heartbeat
from tandem.adapters.control_log import ControlTable
from tandem.adapters.kafka_log import KafkaWriter, create_topics
from tandem.adapters.postgres import upgrade
from tandem.adapters.registry_rest import Registry
from tandem.domain.control import PairSpec
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.market import KIND_TRADE, TICK_DTYPE, Heartbeat, Source, TickFrame
from tandem.domain.units import NS_PER_S
from tandem.local.control import ControlTopic
from tandem.quant.bundle import Bundle, model_name
from tandem.quant.panel import Panel
from tandem.rollout.observed import RegisteredVersion
from tandem.trainer.main import SectorTask, train_sector
from tandem.trainer.sectors import recorded_of, register_sector

_ROOT = Path(__file__).parents[1]
SYMBOLS = (Symbol("AAA"), Symbol("BBB"), Symbol("CCC"))
PAIR = PairId("AAA-BBB")
TRAINED, BARS = 500, 1500

MODEL = """
apiVersion: tandem.trading/v1alpha1
kind: SectorModel
metadata: {name: SECTOR}
spec:
  sector: SECTOR
  rollout:
    gate: {claim: NonInferior, marginQlike: 0.1, barsMin: 30, sessionsMin: 3, barsMax: 900}
    operations: {latencyP99SecondsMax: 3600}
    canary: [{pairsShare: 1, bars: 3}]
    watchBars: 5
"""


def daily_market() -> Panel:
    """Daily closes on the exchange's sessions."""
    made = market(bars=BARS, symbols=SYMBOLS)
    grid = session_grid("1d", 1_420_070_400 * NS_PER_S, 1_735_689_600 * NS_PER_S)  # from 2015
    return replace(made, close_ns=grid.close_ns[: len(made.close_ns)])


def trained_on(panel: Panel) -> Bundle:
    """What the first bars teach."""
    task = SectorTask(sector=SectorId("laboratory"), bar="1d", slots=1, declared=(PAIR,), data_digest="0" * 64)
    return train_sector(task, panel.before(TRAINED), tiny_options())


@dataclass
class World:
    """The servers, the market and who carries rollouts out."""

    sector: SectorId
    env: dict[str, str]
    bundle: Bundle
    panel: Panel
    folder: Path
    control: ControlTopic
    market: KafkaWriter
    published: int = 0

    @property
    def mlflow(self) -> str:
        """The registry."""
        return self.env["MLFLOW_TRACKING_URI"]

    @property
    def name(self) -> str:
        """The registered model."""
        return model_name(self.sector)

    def register(self, scale: float) -> ModelRef:
        """The model with its standard deviations off by this factor, registered with its recorded span."""
        pairs = tuple(replace(pair, volatility=replace(pair.volatility, scale=pair.volatility.scale * scale)) for pair in self.bundle.pairs)
        model = replace(self.bundle, pairs=pairs, sector=self.sector)
        return register_sector(self.mlflow, model, recorded=recorded_of(model, self.panel.before(TRAINED)))

    def publish(self, days: int) -> None:
        """Frames and heartbeats of the next days."""
        writer = self.market
        for t in range(TRAINED + self.published, min(TRAINED + self.published + days, BARS)):
            close_ns = int(self.panel.close_ns[t])
            ticks = np.zeros(len(SYMBOLS), TICK_DTYPE)
            ticks["event_ns"], ticks["kind"], ticks["size"] = close_ns - 1_000_000, KIND_TRADE, 1
            ticks["symbol"], ticks["price"] = np.arange(len(SYMBOLS)), self.panel.close[t]
            frame = TickFrame(sector=self.sector, source=Source.RECYCLED, replay_id="r", symbols=SYMBOLS, ticks=ticks)
            beat = Heartbeat(sector=self.sector, source=Source.RECYCLED, replay_id="r", watermark_ns=close_ns)
            writer.publish(topics.ticks(self.sector), encode_frame(frame))
            writer.publish(topics.ticks(self.sector), encode_heartbeat(beat))
        writer.flush()
        self.published += days

    @contextmanager
    def open_market(self, every_s: float = 0.2) -> Iterator[None]:
        """Bars come, one after another."""
        stop = threading.Event()

        def run() -> None:
            while not stop.wait(every_s):
                self.publish(1)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`tandem rollout ...`."""
        line = [sys.executable, "-m", "tandem.cli.main", "rollout", *arguments]
        return subprocess.run(line, env={**os.environ, **self.env}, cwd=_ROOT, capture_output=True, text=True, timeout=120, check=False)

    @contextmanager
    def runner(self) -> Iterator[Service]:
        """`tandem rollout run`, killed in the end."""
        log = self.folder / "runner.log"
        line = [sys.executable, "-m", "tandem.cli.main", "rollout", "run", "--port-base", self.env["PORT_BASE"]]
        with log.open("ab") as out:
            process = subprocess.Popen(line, env={**os.environ, **self.env}, cwd=_ROOT, stdout=out, stderr=out)
        try:
            yield Service(process=process, url="", log=log)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def table(self) -> ControlTable:
        """The control topic now."""
        return self.control.catch_up()

    def rollout(self) -> dict[str, Any]:
        """The rollout's record; empty before any."""
        record: Any = self.table().records.get(f"rollout/{self.sector}")
        return dict(record.document) if record is not None else {}

    def wait(self, condition: Callable[[dict[str, Any]], bool], what: str, runner: Service) -> dict[str, Any]:
        """The rollout's record, once the condition holds."""
        found: dict[str, Any] = {}

        def holds() -> bool:
            found.clear()
            found.update(self.rollout())
            return bool(found) and condition(found)

        for _ in range(4):  # four times the usual limit: processes start, and a busy machine imports for long
            try:
                wait_until(holds, what, runner)
            except pytest.fail.Exception as error:
                failed = f"{error}\nthe record: {json.dumps(found, indent=1)[-3000:]}"
            else:
                return found
        pytest.fail(failed, pytrace=False)

    def versions(self) -> dict[str, RegisteredVersion]:
        """The registry's, by number."""
        with Registry(self.mlflow) as registry:
            return {version.version: version for version in registry.versions(self.name)}


@contextmanager
def rollout_world(servers: Mapping[str, str], sector: SectorId, bundle: Bundle, panel: Panel, folder: Path) -> Iterator[World]:
    """A sector with a topic, a declared pair and a recorder, but no model and nobody who carries rollouts out.

    servers: TANDEM_KAFKA_BOOTSTRAP_SERVERS, TANDEM_POSTGRES_URL and MLFLOW_TRACKING_URI, as the commands are told.
    """
    config, home = folder / "config", folder / "home"
    upgrade(servers["TANDEM_POSTGRES_URL"])
    (config / "models").mkdir(parents=True)
    (config / "models" / "laboratory.yaml").write_text(MODEL.replace("SECTOR", sector))
    listed = "".join(f"    - {symbol}\n" for symbol in SYMBOLS)
    (config / "sectors.yaml").write_text(f"sectors:\n  {sector}:\n{listed}active:\n  - {sector}\n")
    env = {
        **servers,
        "TANDEM_BAR": "1d",
        "OMP_NUM_THREADS": "1",
        "TANDEM_CONFIG_DIR": str(config),
        "TANDEM_HOME": str(home),
        "PORT_BASE": str(free_base()),
    }
    kafka = servers["TANDEM_KAFKA_BOOTSTRAP_SERVERS"]
    create_topics(kafka, [sector])
    control, writer = ControlTopic(kafka, "test"), KafkaWriter(kafka, "test-market")
    control.publish(PairSpec(pair=PAIR, sector=sector, leg_a=SYMBOLS[0], leg_b=SYMBOLS[1]))
    made = World(sector=sector, env=env, bundle=bundle, panel=panel, folder=folder, control=control, market=writer)
    with running("recorder", free_port(), env, folder) as recorder:
        wait_until(lambda: recorder.why_not_ready() is None, "the recorder", recorder)
        yield made
    control.close()
    writer.close()


def ended(document: dict[str, Any], version: str, outcome: str) -> bool:
    """Whether the rollout of this version has ended so, and all that follows is done."""
    return (document["candidate"]["version"], document["step"], document["outcome"]) == (version, "Done", outcome)
