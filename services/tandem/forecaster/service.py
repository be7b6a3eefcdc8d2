"""The BentoML service of one sector: `bentoml serve tandem.forecaster.service:Forecaster`, or forecaster/main.py on our own uvicorn.

Its HTTP answers from the state that the pump keeps; nothing on the hot path goes through it.
"""

import os
import socket
import threading
import time
from dataclasses import asdict
from typing import Any

import bentoml
import numpy as np
import structlog
from bentoml.exceptions import InvalidArgument, NotFound

from tandem import settings as settings_module
from tandem.adapters import telemetry
from tandem.adapters.bar_store import read_bar_sets
from tandem.adapters.calendar import service_grid
from tandem.adapters.mlflow_registry import load_bundle
from tandem.adapters.onnx_network import OnnxNetwork
from tandem.domain.errors import BadSetting, TandemError
from tandem.domain.market import BarSet
from tandem.flow.sector import SectorModel
from tandem.flow.shards import shards_needed
from tandem.forecaster.pump import Pump
from tandem.quant.bundle import model_name

log = structlog.get_logger()


def build_pump(settings: settings_module.Settings) -> Pump:
    """The pump of the pinned version. Raises BadRecord if the digest does not verify, Transient if a server is away."""
    wanted = {
        "TANDEM_SECTOR": settings.sector,
        "TANDEM_MODEL_VERSION": settings.model_version,
        "TANDEM_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
    }
    if missing := [name for name, value in wanted.items() if not value]:
        raise BadSetting(f"not set: {', '.join(missing)}")
    ref, bundle = load_bundle(settings.mlflow_tracking_uri, model_name(settings.sector), settings.model_version)
    grid = service_grid(bundle.bar, time.time_ns())
    model = SectorModel(
        bundle=bundle, ref=ref, network=OnnxNetwork(bundle.onnx), grid=grid, shards=shards_needed(len(bundle.pairs), settings.shards)
    )

    def past_bars(until_ns: int, replay_id: str) -> tuple[BarSet, ...]:
        url = settings.postgres_url.get_secret_value()
        if not url:
            return ()
        symbols = {leg for pair in bundle.pairs for leg in (pair.leg_a, pair.leg_b)}
        return read_bar_sets(url, symbols, bundle.bar, settings.source, bundle.trained_to_ns, until_ns, grid, replay_id)

    return Pump(
        servers=settings.kafka_bootstrap_servers,
        model=model,
        past_bars=past_bars,
        member=settings.identity or f"{socket.gethostname()}-{os.getpid()}",
    )


@bentoml.service(
    name="tandem-forecaster",
    workers=1,  # one process owns the state; scale is by sector and by pair, not by worker
    traffic={"timeout": 10},
    logging={"access": {"enabled": False}},
)
class Forecaster:
    """Forecasts of one sector under one pinned model version."""

    def __init__(self) -> None:
        settings = settings_module.load()
        telemetry.configure_logging("forecaster", settings.log_level)
        telemetry.expose("forecaster")
        try:
            self._pump = build_pump(settings)
        except TandemError as error:
            log.error("start_failed", error=f"{type(error).__name__}: {error}")
            raise
        self._thread = threading.Thread(target=self._pump.run, name="pump", daemon=True)
        self._thread.start()

    @bentoml.on_shutdown
    def stop(self) -> None:
        """Finish the record in hand, publish and commit it."""
        self._pump.stop()
        self._thread.join(timeout=8)

    async def __is_ready__(self) -> bool:
        """Digest verified, state rebuilt, lag gone, and the pump still alive."""
        return self._thread.is_alive() and self._pump.why_not_ready() is None

    @bentoml.api(route="/forecast")
    async def forecast(self, pair: str) -> dict[str, Any]:
        """The pair's current forecast with the version that made it."""
        latest = self._pump.forecast_of(pair)
        if latest is None:
            held = sorted(model.pair for model in self._pump.model.bundle.pairs)
            if pair not in held:
                raise NotFound(f"pair {pair!r} is not in this model; it holds {', '.join(held)}")
            raise NotFound(f"pair {pair!r} has no forecast yet: both legs must trade in a bar first")
        return {**asdict(latest), "model": asdict(self._pump.model.ref), "sector": self._pump.model.bundle.sector}

    @bentoml.api(route="/predict")
    async def predict(self, windows: list[list[list[float]]]) -> dict[str, Any]:
        """The network's raw outputs for feature windows of shape (n, sequence, features)."""
        try:
            array = np.asarray(windows, dtype=np.float32)
            outputs = self._pump.model.network(array)
        except ValueError as error:
            raise InvalidArgument(str(error)) from error
        return {
            "log_variance_correction": outputs[:, 0].tolist(),
            "reversion_logit": outputs[:, 1].tolist(),
            "model": asdict(self._pump.model.ref),
        }

    @bentoml.api(route="/state")
    async def state(self) -> dict[str, Any]:
        """Where the service stands: version, log position, health, replay, and the newest forecast of each pair."""
        state = self._pump.state
        return {
            "sector": self._pump.model.bundle.sector,
            "model": asdict(self._pump.model.ref),
            "bar": self._pump.model.bundle.bar,
            "not_ready": self._pump.why_not_ready(),
            "next_offset": self._pump.next_offset,
            "health": self._pump.health.report(),
            "sharing": self._pump.sharing(),
            "replay_id": state.replay_id,
            "pairs": sorted(model.pair for model in self._pump.model.bundle.pairs),
            "latest": {pair: asdict(forecast) for pair, forecast in sorted(state.latest.items())},
        }
