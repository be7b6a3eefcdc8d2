"""Laws of sharding: replicas that each own some shards say together what one would have said, however their batches reach the portfolio."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from model_cases import bundle_of, pair_model
from tandem.domain.forecasts import ForecastBatch, ModelRef
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import KIND_BID, KIND_STATUS, KIND_TRADE, TICK_DTYPE, Heartbeat, SessionGrid, Source, TickFrame
from tandem.flow.barrier import Arrived, Barrier, BrokerReached, Decidable, PointersMoved
from tandem.flow.barrier import step as barrier_step
from tandem.flow.sector import SectorModel, SectorState, initial_sector, step

SECTOR = SectorId("consumer")
SYMBOLS = tuple(map(Symbol, ("AAA", "BBB", "CCC", "DDD", "EEE")))
GRID = SessionGrid(open_ns=np.array([0]), close_ns=np.array([60]), bar_ns=10)
PAIRS = [pair_model(a, b) for i, a in enumerate(SYMBOLS) for b in SYMBOLS[i + 1 :]]


def _network(windows: np.ndarray) -> np.ndarray:
    """Something that depends on every number of a window, row by row."""
    return np.stack((windows.sum(axis=(1, 2)) * 1e-3, windows[:, -1].sum(axis=1)), axis=1).astype(np.float32)


def model(shards: int) -> SectorModel:
    ref = ModelRef(name="m", version="1", digest="d")
    return SectorModel(bundle=bundle_of(*PAIRS, trained_to_ns=-1), ref=ref, network=_network, grid=GRID, shards=shards)


@st.composite
def logs(draw: st.DrawFn) -> list[TickFrame | Heartbeat]:
    """A replay of a few bars in lockstep: trades, halts and quotes, then a heartbeat for each bar, the last one the end."""
    events: list[TickFrame | Heartbeat] = []
    bars = draw(st.integers(1, 5))
    for bar in range(bars):
        rows = draw(
            st.lists(
                st.tuples(
                    st.integers(10 * bar, 10 * bar + 9),
                    st.floats(20, 200),
                    st.integers(0, 4),
                    st.sampled_from((KIND_TRADE, KIND_TRADE, KIND_TRADE, KIND_BID, KIND_STATUS)),
                ),
                max_size=25,
            )
        )
        ticks = np.array(
            [(ns, i, p, 1, s, k, i % 2 if k == KIND_STATUS else 0) for i, (ns, p, s, k) in enumerate(sorted(rows))], TICK_DTYPE
        )
        events.append(TickFrame(sector=SECTOR, source=Source.RECYCLED, replay_id="r", symbols=SYMBOLS, ticks=ticks))
        beat = Heartbeat(
            sector=SECTOR,
            source=Source.RECYCLED,
            replay_id="r",
            watermark_ns=10 * (bar + 1),
            lockstep=True,
            end_of_stream=bar == bars - 1,
        )
        events.append(beat)
    return events


def said(shards: int, log: list[TickFrame | Heartbeat], owned: frozenset[int] | None = None) -> tuple[SectorState, list[ForecastBatch]]:
    whole, state, batches = model(shards), initial_sector(model(shards)), []
    for event in log:
        state, more = step(whole, state, event, owned)
        batches += more
    return state, batches


def decided(batches: list[ForecastBatch]) -> list[Decidable]:
    """What the portfolio's barrier lets through, its sector's broker having reached everything."""
    state, bars = Barrier(replay_id="r"), []
    events = [PointersMoved(versions={SECTOR: ("1",)}), BrokerReached(replay_id="r", watermark_ns=1_000)]
    for event in [*events, *(Arrived(batch=batch, offset=i) for i, batch in enumerate(batches))]:
        state, more = barrier_step(state, event)
        bars += more
    assert state.parts == ()
    return bars


def _in_order_of_pair(batch: ForecastBatch) -> ForecastBatch:
    return replace(batch, forecasts=tuple(sorted(batch.forecasts, key=lambda forecast: forecast.pair)))


@settings(deadline=None, max_examples=40)  # a law of whole replays
@given(logs(), st.integers(2, 7), st.booleans(), st.randoms())
def test_shards_decide_what_one_forecaster_would_have_decided(log, shards, lockstep, random):
    """Each shard's batches in their own order, shards interleaved by chance, some sent twice: the decisions are those without shards."""
    log = [replace(event, lockstep=lockstep) if isinstance(event, Heartbeat) else event for event in log]
    expected = [replace(bar, batches=tuple(map(_in_order_of_pair, bar.batches))) for bar in decided(said(1, log)[1])]
    queues = [said(shards, log, frozenset({shard}))[1] for shard in range(shards)]
    mixed: list[ForecastBatch] = []
    while any(queues):
        queue = random.choice([queue for queue in queues if queue])
        mixed.append(queue[0])
        if random.random() < 0.8:
            queue.pop(0)  # else it is sent again, as after a restart
    assert decided(mixed) == expected


@settings(deadline=None, max_examples=40)  # a law of whole replays
@given(logs(), st.integers(2, 7), st.data())
def test_what_a_replica_owns_does_not_change_what_it_knows(log, shards, data):
    """The state of every pair moves in every replica: a shard can be taken over at any bar."""
    owned = frozenset(data.draw(st.sets(st.integers(0, shards - 1))))
    taken_over = data.draw(st.integers(0, len(log)))
    whole, state = model(shards), initial_sector(model(shards))
    after: list[ForecastBatch] = []
    for i, event in enumerate(log):
        state, batches = step(whole, state, event, owned if i < taken_over else None)
        if i >= taken_over:
            after += batches
    all_batches = said(shards, log[:taken_over])[1]
    assert after == said(shards, log)[1][len(all_batches) :]


@settings(deadline=None, max_examples=40)  # a law of whole replays
@given(logs(), st.integers(2, 5))
def test_a_change_of_the_number_of_shards_decides_each_bar_once(log, shards):
    """While a version is restarted with another number of shards, both are told: the bars and decisions are the same."""
    expected = [replace(bar, batches=tuple(map(_in_order_of_pair, bar.batches))) for bar in decided(said(1, log)[1])]
    half = len(log) // 2
    old, new = said(shards, log[: half + half % 2])[1], said(shards + 1, log)[1]
    state, bars = Barrier(replay_id="r"), []
    events = [PointersMoved(versions={SECTOR: ("1",)}), BrokerReached(replay_id="r", watermark_ns=1_000)]
    for event in [*events, *(Arrived(batch=batch, offset=i) for i, batch in enumerate([*old, *new]))]:
        state, more = barrier_step(state, event)
        bars += more
    assert bars == expected
