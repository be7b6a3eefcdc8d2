"""A sector's whole data path as one pure step: tick record -> bars -> forecasts -> batches. Live, replay and gates run this function."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tandem.domain.forecasts import Forecast, ForecastBatch, ModelRef
from tandem.domain.market import BarSet, Heartbeat, SessionGrid, TickFrame
from tandem.flow import bars as bar_flow
from tandem.flow.forecast import ForecastState, initial_forecasts
from tandem.flow.forecast import step as forecast_step
from tandem.quant.bundle import Bundle
from tandem.quant.network import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class SectorModel:
    """What stays the same while a version runs: its bundle, network and bar grid."""

    bundle: Bundle
    ref: ModelRef
    network: Network
    grid: SessionGrid


@dataclass(frozen=True, slots=True, kw_only=True)
class SectorState:
    """What the log implies so far. `replay_id` is None before the first record."""

    replay_id: str | None
    bars: bar_flow.BarState
    forecasts: ForecastState
    latest: dict[str, Forecast]  # by pair


def initial_sector(model: SectorModel, past: Sequence[BarSet] = (), replay_id: str | None = None) -> SectorState:
    """The state at the end of training, brought forward over bars that the log no longer holds."""
    state = SectorState(
        replay_id=replay_id,
        bars=bar_flow.initial_bars(model.grid),
        forecasts=initial_forecasts(model.bundle, _number(model)),
        latest={},
    )
    for bar_set in past:
        state, _ = _advance(model, state, bar_set)
    return state


def step(model: SectorModel, state: SectorState, event: TickFrame | Heartbeat) -> tuple[SectorState, tuple[ForecastBatch, ...]]:
    """The batches that this record completes: one for each bar that closes, and an empty one for a heartbeat that closes none.

    A record of another replay starts from the bundle's state: event time begins anew there.
    """
    if state.replay_id is None:
        state = replace(state, replay_id=event.replay_id)
    elif state.replay_id != event.replay_id:
        state = initial_sector(model, replay_id=event.replay_id)
    bars, closed = bar_flow.step(state.bars, event)
    state = replace(state, bars=bars)
    batches: list[ForecastBatch] = []
    for bar_set in closed:
        state, forecasts = _advance(model, state, bar_set)
        batches.append(batch_of(model.ref, event, bar_set.close_ns, forecasts))
    if isinstance(event, Heartbeat) and (event.end_of_stream or not closed or closed[-1].close_ns < event.watermark_ns):
        batches.append(batch_of(model.ref, event, event.watermark_ns, (), end=event.end_of_stream))
    return state, tuple(batches)


def _number(model: SectorModel) -> int | None:
    """Of the last training bar in the grid; None outside it."""
    grid, close_ns = model.grid, model.bundle.trained_to_ns
    return int(grid.places(np.array([close_ns])).number[0]) if grid.covers(close_ns) else None


def _advance(model: SectorModel, state: SectorState, bar_set: BarSet) -> tuple[SectorState, tuple[Forecast, ...]]:
    after, forecasts = forecast_step(state.forecasts, bar_set, model.network)
    latest = state.latest | {forecast.pair: forecast for forecast in forecasts}
    return replace(state, forecasts=after, latest=latest), forecasts


def batch_of(
    ref: ModelRef, event: TickFrame | Heartbeat, bar_close_ns: int, forecasts: tuple[Forecast, ...], *, end: bool = False
) -> ForecastBatch:
    """The forecasts of a bar as they are published when this record closes it. end: nothing comes after."""
    return ForecastBatch(
        sector=event.sector,
        model=ref,
        source=event.source,
        replay_id=event.replay_id,
        bar_close_ns=bar_close_ns,
        lockstep=isinstance(event, Heartbeat) and event.lockstep,
        end_of_stream=end,
        forecasts=forecasts,
    )
