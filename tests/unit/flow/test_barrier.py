"""The barrier: which bars may be decided, in which order, and what holds them back."""

from dataclasses import replace

from tandem.domain.forecasts import ForecastBatch
from tandem.domain.ids import SectorId
from tandem.flow.barrier import Arrived, Barrier, BrokerReached, Decidable, PointersMoved, step
from trading_cases import CONSUMER, MODEL, batch, forecast

ENERGY = SectorId("energy")
BOTH = PointersMoved(versions={CONSUMER: ("1",), ENERGY: ("1",)})


def arrived(of: ForecastBatch, offset: int = 0) -> Arrived:
    return Arrived(batch=of, offset=offset)


def consumer(close_ns: int, **changes: object) -> Arrived:
    return arrived(batch(close_ns, **changes), offset=close_ns)


def energy(close_ns: int, **changes: object) -> Arrived:
    return arrived(batch(close_ns, sector=ENERGY, **changes), offset=close_ns)


def broker(watermark_ns: int, replay_id: str = "r1") -> BrokerReached:
    return BrokerReached(replay_id=replay_id, watermark_ns=watermark_ns)


def run(*events: object, state: Barrier | None = None) -> tuple[Barrier, list[Decidable]]:
    state = state or step(Barrier(replay_id="r1"), BOTH)[0]
    bars: list[Decidable] = []
    for event in events:
        state, more = step(state, event)
        bars += more
    return state, bars


def closes(bars: list[Decidable]) -> list[int]:
    return [bar.bar_close_ns for bar in bars]


def test_a_bar_waits_for_all_sectors_and_the_broker() -> None:
    state, bars = run(consumer(10), energy(10))
    assert bars == []
    state, bars = run(broker(10), state=state)
    assert closes(bars) == [10]

    state, bars = run(broker(20), consumer(20), state=state)
    assert bars == []
    state, bars = run(energy(25), state=state)
    assert closes(bars) == [20], "a watermark beyond the bar is enough"


def test_batches_of_a_bar_come_in_order_of_sector_whatever_came_first() -> None:
    _, bars = run(energy(10), consumer(10), broker(10))

    assert [b.sector for b in bars[0].batches] == [CONSUMER, ENERGY]


def test_several_bars_become_decidable_oldest_first() -> None:
    _, bars = run(consumer(10), consumer(20), consumer(30), energy(30), broker(20), broker(30))

    assert closes(bars) == [10, 20, 30]


def test_a_record_delivered_twice_decides_once() -> None:
    _, bars = run(consumer(10), energy(10), broker(10), consumer(10), energy(10), broker(10))

    assert closes(bars) == [10]


def test_another_version_is_ignored_until_the_pointer_names_it() -> None:
    shadow = replace(MODEL, version="2", digest="d2")
    state, bars = run(consumer(10), consumer(10, model=shadow), energy(10), broker(10))
    assert [b.model.version for b in bars[0].batches] == ["1", "1"]

    moved = PointersMoved(versions={CONSUMER: ("2",), ENERGY: ("1",)})
    _, bars = run(consumer(20, model=shadow), moved, energy(20), broker(20), state=state)

    assert [(b.sector, b.model.version) for b in bars[0].batches] == [(CONSUMER, "2"), (ENERGY, "1")]


def test_a_sector_without_a_pointer_holds_nothing_back_and_decides_nothing() -> None:
    only_consumer = PointersMoved(versions={CONSUMER: ("1",)})
    _, bars = run(only_consumer, energy(10), consumer(10), broker(10))

    assert [b.sector for b in bars[0].batches] == [CONSUMER]


def test_without_a_pointer_nothing_is_decidable() -> None:
    _, bars = run(consumer(10), broker(10), state=Barrier(replay_id="r1"))

    assert bars == []


def test_the_end_comes_once_when_all_sectors_have_ended() -> None:
    state, bars = run(consumer(10), energy(10), broker(10), consumer(10, end_of_stream=True))
    assert [bar.end_of_stream for bar in bars] == [False]

    _, bars = run(energy(12, end_of_stream=True), broker(12), broker(12), state=state)

    assert [(bar.bar_close_ns, bar.end_of_stream) for bar in bars] == [(12, True)]


def test_the_end_at_a_bar_already_decided_is_still_told() -> None:
    """The last heartbeat may repeat the watermark of the last bar."""
    state, _ = run(consumer(10), energy(10), broker(10))

    _, bars = run(consumer(10, end_of_stream=True), energy(10, end_of_stream=True), state=state)

    assert [(bar.bar_close_ns, bar.end_of_stream, bar.batches) for bar in bars] == [(10, True, ())]


def test_the_end_waits_for_the_broker() -> None:
    ends = (consumer(10, end_of_stream=True), energy(10, end_of_stream=True))
    state, bars = run(*ends)
    assert bars == []

    _, bars = run(broker(10), state=state)
    assert [bar.end_of_stream for bar in bars] == [True]


def test_events_of_another_replay_change_nothing() -> None:
    state, _ = run(consumer(10), energy(10), broker(10))

    after, bars = run(consumer(20, replay_id="r2"), energy(20, replay_id="r2"), broker(20, "r2"), state=state)

    assert (after, bars) == (state, [])


def test_live_batches_are_decided_one_by_one_without_the_broker() -> None:
    live = {"lockstep": False, "replay_id": ""}
    _, bars = run(BOTH, consumer(10, **live), consumer(10, **live), energy(8, **live), state=Barrier())

    assert [(bar.bar_close_ns, [b.sector for b in bar.batches]) for bar in bars] == [(10, [CONSUMER]), (8, [ENERGY])]


def test_the_safe_offset_is_that_of_the_oldest_waiting_batch() -> None:
    state, _ = run(consumer(10), consumer(20), energy(10))
    assert state.safe_offset(99) == 10

    state, _ = run(broker(10), state=state)
    assert state.safe_offset(99) == 20

    state, _ = run(energy(20), broker(20), state=state)
    assert state.safe_offset(99) == 99


def test_the_sector_that_everybody_waits_for_is_named() -> None:
    state, _ = run(consumer(10), energy(10), broker(10), broker(20), energy(20))
    assert state.lagging == (CONSUMER,)

    state, _ = run(consumer(20), state=state)
    assert state.lagging == ()


def test_a_restart_in_the_middle_skips_what_the_replay_has_left_behind() -> None:
    state = Barrier(replay_id="r1", versions=BOTH.versions, decided_ns=9)

    _, bars = run(consumer(5), energy(5), consumer(10, forecasts=(forecast(),)), energy(10), broker(10), state=state)

    assert closes(bars) == [10]


CANARY = replace(MODEL, version="2", digest="d2")
WITH_CANARY = PointersMoved(versions={CONSUMER: ("1", "2")})


def test_a_bar_waits_for_the_canary_too() -> None:
    """Whatever pairs it decides must have their forecast."""
    state, bars = run(WITH_CANARY, consumer(10), broker(10))
    assert bars == []
    assert state.lagging == (CONSUMER,)

    _, bars = run(consumer(10, model=CANARY), state=state)
    assert [b.model.version for b in bars[0].batches] == ["1", "2"]


def test_taking_the_canary_back_frees_the_bar_that_waited_for_it() -> None:
    """A dead canary holds a replay up only until the pointer moves."""
    state, _ = run(WITH_CANARY, consumer(10), broker(10))
    _, bars = run(PointersMoved(versions={CONSUMER: ("1",)}), state=state)

    assert closes(bars) == [10]


def live(close_ns: int, **changes: object) -> Arrived:
    return consumer(close_ns, lockstep=False, replay_id="", **changes)


def test_live_the_newest_batch_of_the_new_version_is_decided_when_the_pointer_moves() -> None:
    """It came before the pointer did, and the old version's batch of the bar may come after it: no bar is lost between the two."""
    state, _ = step(Barrier(), PointersMoved(versions={CONSUMER: ("1",)}))
    state, bars = run(live(10), live(10, model=CANARY), live(20, model=CANARY), state=state)
    assert closes(bars) == [10]

    state, bars = run(PointersMoved(versions={CONSUMER: ("2",)}), live(20), state=state)
    assert [(bar.bar_close_ns, bar.batches[0].model.version) for bar in bars] == [(20, "2")]


def test_live_a_batch_that_a_shadow_published_again_is_not_decided_later() -> None:
    """After a restart it publishes the last bars once more, maybe just after it was promoted."""
    state, _ = step(Barrier(), PointersMoved(versions={CONSUMER: ("1",)}))
    state, _ = run(live(10, model=CANARY), live(20, model=CANARY), state=state)
    _, bars = run(PointersMoved(versions={CONSUMER: ("2",)}), live(10, model=CANARY), live(20, model=CANARY), state=state)

    assert closes(bars) == [20]


def shard(number: int, close_ns: int, offset: int, **changes: object) -> Arrived:
    return arrived(batch(close_ns, shard=number, shards=3, **changes), offset=offset)


def test_a_bar_waits_for_all_shards_and_a_restart_reads_from_the_first_of_them() -> None:
    """Two of three shards decide nothing; the offset that may be committed stays before them."""
    state, bars = run(shard(2, 10, 5), shard(0, 10, 6), energy(10), broker(10))
    assert bars == []
    assert state.safe_offset(9) == 5
    state, bars = run(shard(1, 10, 8), state=state)
    assert [(bar.bar_close_ns, [b.shards for b in bar.batches]) for bar in bars] == [(10, [1, 1])]
    assert (state.parts, state.safe_offset(9)) == ((), 9)


def test_a_shard_that_comes_twice_completes_nothing() -> None:
    """A replica that took over says again what the lost one had said."""
    _, bars = run(energy(10), broker(10), shard(0, 10, 1), shard(0, 10, 2), shard(1, 10, 3), shard(1, 10, 4))
    assert bars == []


def test_live_shards_are_decided_together() -> None:
    """Without lockstep, too: two pairs of one symbol must be seen in one bar."""
    parts = [shard(i, 10, i, lockstep=False) for i in range(3)]
    assert [closes(run(*parts[:n])[1]) for n in (1, 2, 3)] == [[], [], [10]]
