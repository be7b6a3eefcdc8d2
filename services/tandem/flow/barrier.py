"""Which bars may be decided now: the barrier between forecasts, the broker's stream and the clock of a replay.

In lockstep a bar is decided when every sector with a routing pointer has published up to it under each version that the pointer acts on
and the broker's stream has reached it, so that every execution before it is booked; bars come out in order of time. Without lockstep
(live) each batch of such a version is decided as it comes. Batches of other versions wait beside it, in case the pointer moves: until
their bar is past in lockstep, the newest one of each version without. Which version decides which pair is routing.py.
A sector may publish a bar in several shards (flow/shards.py): their batches are put together first, and count as one batch that comes with
the last of them. Does not decide anything about pairs; who has acknowledged a watermark to the recycler is lockstep.py. Called by the
portfolio.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from tandem.domain.forecasts import ForecastBatch
from tandem.domain.ids import SectorId

_EVER = -(2**63)
_Key = tuple[SectorId, str]  # sector and model version


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A batch from the log. offset: its record's."""

    batch: ForecastBatch
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerReached:
    """The broker's stream has reported everything before the watermark."""

    replay_id: str
    watermark_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PointersMoved:
    """The versions to act on, by sector."""

    versions: Mapping[SectorId, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decidable:
    """A bar whose decisions can be made. end_of_stream: nothing follows in any sector."""

    replay_id: str
    bar_close_ns: int
    lockstep: bool
    end_of_stream: bool
    batches: tuple[ForecastBatch, ...]  # in order of sector; only those of the versions to act on


@dataclass(frozen=True, slots=True, kw_only=True)
class Barrier:
    """The state within one replay; replay_id is "" on live feeds. Times are ns UTC. Another replay needs a new barrier."""

    replay_id: str = ""
    versions: Mapping[SectorId, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    reached_ns: Mapping[_Key, int] = field(default_factory=lambda: MappingProxyType({}))
    ended: frozenset[_Key] = frozenset()
    waiting: tuple[Arrived, ...] = ()  # in order of arrival
    parts: tuple[Arrived, ...] = ()  # shards of bars that are not complete
    aside: Mapping[_Key, ForecastBatch] = field(default_factory=lambda: MappingProxyType({}))  # live: newest of versions not acted on
    broker_ns: int = _EVER
    decided_ns: int = _EVER  # in lockstep: every bar that closes up to here is decided
    end_decided: bool = False

    def safe_offset(self, next_offset: int) -> int:
        """The offset up to which the log has taken effect, given the offset after the last record read."""
        return min((arrived.offset for arrived in (*self.waiting, *self.parts)), default=next_offset)

    @property
    def lagging(self) -> tuple[SectorId, ...]:
        """Sectors that have not forecast up to where the broker's stream is: what a replay in lockstep is waiting for."""
        behind = (key for key in self.keys if key not in self.ended and self.reached_ns.get(key, _EVER) < self.broker_ns)
        return tuple(dict.fromkeys(sector for sector, _ in behind))

    @property
    def keys(self) -> tuple[_Key, ...]:
        """Every sector with every version to act on."""
        return tuple((sector, version) for sector, versions in self.versions.items() for version in versions)


def step(state: Barrier, event: Arrived | BrokerReached | PointersMoved) -> tuple[Barrier, tuple[Decidable, ...]]:
    """The state after the event, and the bars that it makes decidable, oldest first. Events of another replay change nothing."""
    match event:
        case Arrived(batch=batch) if batch.replay_id == state.replay_id:
            state, whole = _put_together(state, event)
            if whole is None:
                return state, ()
            return _drain(_wait(state, whole)) if batch.lockstep else _at_once(state, whole.batch)
        case BrokerReached(replay_id=replay_id, watermark_ns=watermark_ns) if replay_id == state.replay_id:
            return _drain(replace(state, broker_ns=max(state.broker_ns, watermark_ns)))
        case PointersMoved(versions=versions):
            return _move(state, versions)
    return state, ()


def _put_together(state: Barrier, arrived: Arrived) -> tuple[Barrier, Arrived | None]:
    """The batch of the whole sector, once all its shards are there; None until then, and for a shard that came before.

    Its offset is the first part's: a restart needs them all. While a version is restarted with another number of shards both numbers are
    told; the first that is complete counts.
    """
    batch = arrived.batch
    if batch.shards == 1:
        return state, arrived
    key = (batch.sector, batch.model.version)
    past = batch.bar_close_ns <= state.reached_ns.get(key, _EVER)
    if key in state.ended if batch.end_of_stream else past:
        return state, None
    bar = _bar_key(batch)
    mine = [part for part in state.parts if _bar_key(part.batch) == bar]
    if any(part.batch.shard == batch.shard for part in mine):
        return state, None
    mine.append(arrived)
    if len(mine) < batch.shards:
        return replace(state, parts=(*state.parts, arrived)), None
    kept = (p for p in state.parts if _bar_key(p.batch)[:2] != key or p.batch.bar_close_ns > batch.bar_close_ns or p.batch.end_of_stream)
    state = replace(state, parts=tuple(p for p in kept if _bar_key(p.batch) != bar))
    return state, Arrived(batch=_whole([part.batch for part in mine]), offset=min(part.offset for part in mine))


def _bar_key(batch: ForecastBatch) -> tuple[SectorId, str, int, int, bool]:
    return batch.sector, batch.model.version, batch.shards, batch.bar_close_ns, batch.end_of_stream


def _whole(parts: list[ForecastBatch]) -> ForecastBatch:
    """As one shard would have published it, in order of pair and symbol."""
    forecasts = sorted((forecast for part in parts for forecast in part.forecasts), key=lambda forecast: forecast.pair)
    market = {state.symbol: state for part in parts for state in part.market}
    return replace(
        parts[0],
        shard=0,
        shards=1,
        forecasts=tuple(forecasts),
        market=tuple(market[symbol] for symbol in sorted(market)),
    )


def _move(state: Barrier, versions: Mapping[SectorId, tuple[str, ...]]) -> tuple[Barrier, tuple[Decidable, ...]]:
    """What waited for a version that is acted on from now on may be decided; live, its newest batch: older bars were others' to decide."""
    state = replace(state, versions=MappingProxyType(dict(sorted(versions.items()))))
    freed = [state.aside[key] for key in state.keys if key in state.aside]
    state = replace(state, aside=MappingProxyType({key: batch for key, batch in state.aside.items() if key not in state.keys}))
    state, bars = _drain(state)
    for batch in sorted(freed, key=lambda batch: batch.bar_close_ns):
        state, more = _release(state, batch)
        bars += more
    return state, bars


def _wait(state: Barrier, arrived: Arrived) -> Barrier:
    batch = arrived.batch
    key = (batch.sector, batch.model.version)
    reached_ns = state.reached_ns.get(key, _EVER)
    ended = state.ended | {key} if batch.end_of_stream else state.ended
    past = batch.bar_close_ns <= max(reached_ns, state.decided_ns)  # delivered again, or of a version that lags
    reached = MappingProxyType({**state.reached_ns, key: max(reached_ns, batch.bar_close_ns)})
    return replace(state, reached_ns=reached, ended=ended, waiting=state.waiting if past else (*state.waiting, arrived))


def _at_once(state: Barrier, batch: ForecastBatch) -> tuple[Barrier, tuple[Decidable, ...]]:
    key = (batch.sector, batch.model.version)
    if batch.bar_close_ns <= state.reached_ns.get(key, _EVER) and not batch.end_of_stream:
        return state, ()  # delivered again
    reached_ns = max(batch.bar_close_ns, state.reached_ns.get(key, _EVER))
    state = replace(state, reached_ns=MappingProxyType({**state.reached_ns, key: reached_ns}))
    if key not in state.keys:
        return replace(state, aside=MappingProxyType({**state.aside, key: batch})), ()
    return _release(state, batch)


def _release(state: Barrier, batch: ForecastBatch) -> tuple[Barrier, tuple[Decidable, ...]]:
    """Decide a batch without lockstep."""
    ended = state.ended | {(batch.sector, batch.model.version)} if batch.end_of_stream else state.ended
    state = replace(state, ended=ended)
    end = _all_ended(state)
    bar = Decidable(
        replay_id=state.replay_id,
        bar_close_ns=batch.bar_close_ns,
        lockstep=False,
        end_of_stream=end and not state.end_decided,
        batches=(batch,),
    )
    return replace(state, end_decided=state.end_decided or end), (bar,)


def _drain(state: Barrier) -> tuple[Barrier, tuple[Decidable, ...]]:
    """Take out every bar that all sectors and the broker have reached."""
    keys = state.keys
    if not keys:
        return state, ()
    safe_ns = min([state.broker_ns, *(state.reached_ns.get(key, _EVER) for key in keys if key not in state.ended)])
    end_ns = max(state.reached_ns.get(key, _EVER) for key in keys)
    end = not state.end_decided and safe_ns >= end_ns and _all_ended(state)
    if safe_ns <= state.decided_ns and not end:
        return state, ()
    closes = sorted({a.batch.bar_close_ns for a in state.waiting if a.batch.bar_close_ns <= safe_ns})
    if end and end_ns not in closes:
        closes.append(end_ns)
    bars = [_bar(state, keys, close_ns, end=end and close_ns == end_ns) for close_ns in closes]
    waiting = tuple(a for a in state.waiting if a.batch.bar_close_ns > safe_ns)
    decided_ns = max(state.decided_ns, safe_ns)
    return replace(state, waiting=waiting, decided_ns=decided_ns, end_decided=state.end_decided or end), tuple(bars)


def _bar(state: Barrier, keys: tuple[_Key, ...], close_ns: int, *, end: bool) -> Decidable:
    at_close = [a.batch for a in state.waiting if a.batch.bar_close_ns == close_ns]
    batches = tuple(b for sector, version in keys for b in at_close if (b.sector, b.model.version) == (sector, version))
    return Decidable(replay_id=state.replay_id, bar_close_ns=close_ns, lockstep=True, end_of_stream=end, batches=batches)


def _all_ended(state: Barrier) -> bool:
    return bool(state.keys) and all(key in state.ended for key in state.keys)
