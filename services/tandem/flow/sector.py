"""A sector's whole data path as one pure step: tick record -> bars -> forecasts -> batches. Live, replay and gates run this function."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tandem.domain.forecasts import Forecast, ForecastBatch, MarketState, ModelRef, market_columns
from tandem.domain.ids import Symbol
from tandem.domain.market import BarSet, Heartbeat, SessionGrid, TickFrame
from tandem.flow import bars as bar_flow
from tandem.flow.forecast import ForecastState, initial_forecasts
from tandem.flow.forecast import step as forecast_step
from tandem.flow.market_view import MarketView, initial_view, see, told
from tandem.flow.shards import shard_of_pairs
from tandem.quant.bundle import Bundle
from tandem.quant.network import Network


@dataclass(frozen=True, kw_only=True)
class SectorModel:
    """What stays the same while a version runs: its bundle, network and bar grid. shards: in how many parts its pairs are published."""

    bundle: Bundle
    ref: ModelRef
    network: Network
    grid: SessionGrid
    shards: int = 1

    @cached_property
    def shard(self) -> NDArray[np.int64]:
        """(P,) of each pair."""
        return np.array(shard_of_pairs([pair.pair for pair in self.bundle.pairs], self.shards))

    @cached_property
    def symbols(self) -> tuple[frozenset[Symbol], ...]:
        """Those of each shard's pairs."""
        found: list[set[Symbol]] = [set() for _ in range(self.shards)]
        for pair, shard in zip(self.bundle.pairs, self.shard.tolist(), strict=True):
            found[shard] |= {pair.leg_a, pair.leg_b}
        return tuple(map(frozenset, found))


@dataclass(frozen=True, slots=True, kw_only=True)
class SectorState:
    """What the log implies so far. `replay_id` is None before the first record."""

    replay_id: str | None
    bars: bar_flow.BarState
    market: MarketView
    forecasts: ForecastState
    latest: dict[str, Forecast]  # by pair


def initial_sector(model: SectorModel, past: Sequence[BarSet] = (), replay_id: str | None = None) -> SectorState:
    """The state at the end of training, brought forward over bars that the log no longer holds."""
    state = SectorState(
        replay_id=replay_id,
        bars=bar_flow.initial_bars(model.grid),
        market=initial_view([leg for pair in model.bundle.pairs for leg in (pair.leg_a, pair.leg_b)]),
        forecasts=initial_forecasts(model.bundle, _number(model)),
        latest={},
    )
    for bar_set in past:
        state, _ = _advance(model, state, bar_set)
    return state


def step(
    model: SectorModel, state: SectorState, event: TickFrame | Heartbeat, owned: frozenset[int] | None = None
) -> tuple[SectorState, tuple[ForecastBatch, ...]]:
    """The batches that this record completes: one for each bar that closes, and an empty one for a heartbeat that closes none.

    A record of another replay starts from the bundle's state: event time begins anew there. A batch of a bar says what the market was of
    every symbol of which something is known; the others only of those whose halt or price band has turned. owned: the shards to publish,
    each in batches of its own; None for all. What is owned changes no other state than `latest` and the counts of forecasts.
    """
    if state.replay_id is None:
        state = replace(state, replay_id=event.replay_id)
    elif state.replay_id != event.replay_id:
        state = initial_sector(model, replay_id=event.replay_id)
    bars, closed = bar_flow.step(state.bars, event)
    market = state.market
    if isinstance(event, TickFrame):
        market = see(market, event, lambda symbol: bar_flow.last_trade(bars, symbol))
    state = replace(state, bars=bars, market=market)
    shards = range(model.shards) if owned is None else sorted(owned)
    batches: list[ForecastBatch] = []
    for bar_set in closed:
        state, forecasts = _advance(model, state, bar_set, owned)
        market, states = told(state.market, whole=True)
        state = replace(state, market=market)
        whole = batch_of(model.ref, event, bar_set.close_ns, forecasts, market=states)
        batches.extend(_parts(model, whole, shards))
    if isinstance(event, Heartbeat) and (event.end_of_stream or not closed or closed[-1].close_ns < event.watermark_ns):
        market, states = told(state.market, whole=False)
        state = replace(state, market=market)
        whole = batch_of(model.ref, event, event.watermark_ns, (), market=states, end=event.end_of_stream)
        batches.extend(_parts(model, whole, shards))
    return state, tuple(batches)


def _parts(model: SectorModel, whole: ForecastBatch, shards: Sequence[int]) -> Iterator[ForecastBatch]:
    """The batch in the parts of these shards."""
    if model.shards == 1:
        yield from (whole for _ in shards)
        return
    of_pair = dict(zip((pair.pair for pair in model.bundle.pairs), model.shard.tolist(), strict=True))
    forecasts: dict[int, list[Forecast]] = {shard: [] for shard in shards}
    for forecast in whole.forecasts:
        forecasts[of_pair[forecast.pair]].append(forecast)
    columns = market_columns(whole.market)
    for shard in shards:
        market = columns.of(model.symbols[shard])
        yield replace(whole, forecasts=tuple(forecasts[shard]), market=market, shard=shard, shards=model.shards)


def _number(model: SectorModel) -> int | None:
    """Of the last training bar in the grid; None outside it."""
    grid, close_ns = model.grid, model.bundle.trained_to_ns
    return int(grid.places(np.array([close_ns])).number[0]) if grid.covers(close_ns) else None


def _advance(
    model: SectorModel, state: SectorState, bar_set: BarSet, owned: frozenset[int] | None = None
) -> tuple[SectorState, tuple[Forecast, ...]]:
    wanted = None if owned is None or len(owned) == model.shards else np.isin(model.shard, sorted(owned))
    after, forecasts = forecast_step(state.forecasts, bar_set, model.network, wanted)
    latest = state.latest | {forecast.pair: forecast for forecast in forecasts}
    return replace(state, forecasts=after, latest=latest), forecasts


def batch_of(
    ref: ModelRef,
    event: TickFrame | Heartbeat,
    bar_close_ns: int,
    forecasts: tuple[Forecast, ...],
    *,
    market: Sequence[MarketState] = (),
    end: bool = False,
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
        market=market,
    )
