"""What a payload of the market-data stream means: ticks into frames, heartbeats, a new replay, an error, or something to park.

Holds the state of the stream (which replay, what waits in buffers, which ticks were seen) and touches nothing outside: payloads in, outputs
out, in the order in which they must be published. Called by ingestor/pump.py, which owns socket, clock and Kafka.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgpack

from tandem.domain.errors import BadRecord, BadSetting
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import Heartbeat, Source
from tandem.ingestor.dedupe import Window
from tandem.ingestor.frames import FrameBuffers, StampedFrame
from tandem.ingestor.trades import Parked, read_trades

_type_of = itemgetter("T")
_ONLY_TRADES = {"t"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StampedHeartbeat:
    """A heartbeat for one sector, and when it reached us (wall time)."""

    heartbeat: Heartbeat
    ingested_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribed:
    """The server's full list of symbols whose trades it sends."""

    symbols: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamError:
    """An error message of the server, e.g. 405 symbol limit exceeded, 406 connection limit exceeded, 409 insufficient subscription."""

    code: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayBegan:
    """The stream is a replay, or begins another pass of one."""

    source: Source
    replay_id: str
    lockstep: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """Ticks that were there already and were left out."""

    count: int


Output = StampedFrame | StampedHeartbeat | Subscribed | StreamError | ReplayBegan | Duplicates | Parked


class Intake:
    """The state of one market-data stream. `source` is what the settings say the stream is."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._replay_id: str | None = None if source is Source.RECYCLED else ""
        self._buffers = FrameBuffers()
        self._seen = Window()
        self.last_event_ns = 0

    @property
    def sectors(self) -> tuple[SectorId, ...]:
        """The sectors that ticks go to."""
        return self._buffers.sectors

    def route(self, routes: Mapping[SectorId, tuple[Symbol, ...]]) -> tuple[Output, ...]:
        """From now on these symbols belong to these sectors; what waits goes out as it was."""
        waiting = self.drain()
        self._buffers.route(routes)
        return waiting

    def take(self, messages: Sequence[Any], received_ns: int) -> tuple[Output, ...]:
        """One payload. Raises BadSetting if the stream is a replay and the settings say that it is not."""
        if _only_trades(messages):
            return tuple(self._trades(messages, received_ns))
        out: list[Output] = []
        for kind, run in groupby(messages, key=_kind):
            part = list(run)
            if kind == "t":
                out.extend(self._trades(part, received_ns))
                continue
            for message in part:
                try:
                    out.extend(self._single(kind, message, received_ns))
                except BadRecord as error:
                    out.append(Parked(error=error, payload=msgpack.packb(message)))
        return tuple(out)

    def drain(self) -> tuple[Output, ...]:
        """All ticks that wait, as frames."""
        return tuple(self._buffers.drain(self._source, self._replay_id or ""))

    def beat(self, watermark_ns: int, received_ns: int, *, lockstep: bool = False, end_of_stream: bool = False) -> tuple[Output, ...]:
        """What waits as frames, then a heartbeat for each sector."""
        beats = [
            StampedHeartbeat(
                heartbeat=Heartbeat(
                    sector=sector,
                    source=self._source,
                    replay_id=self._replay_id or "",
                    watermark_ns=watermark_ns,
                    lockstep=lockstep,
                    end_of_stream=end_of_stream,
                ),
                ingested_ns=received_ns,
            )
            for sector in self._buffers.sectors
        ]
        return (*self.drain(), *beats)

    def _trades(self, messages: Sequence[Any], received_ns: int) -> list[Output]:
        if self._replay_id is None:
            error = BadRecord("replay_unannounced", "TANDEM_SOURCE is recycled, but the stream sent trades before it named its replay")
            return [Parked(error=error, payload=msgpack.packb(message)) for message in messages]
        ticks, parked = read_trades(messages, self._buffers.followed, received_ns)
        out: list[Output] = list(parked)
        if len(ticks) == 0:
            return out
        fresh = self._seen.fresh(ticks)
        if not fresh.all():
            out.append(Duplicates(count=len(ticks) - int(fresh.sum())))
            ticks = ticks[fresh]
        if len(ticks):
            self.last_event_ns = max(self.last_event_ns, int(ticks["event_ns"].max()))
            self._buffers.add(ticks, received_ns)
            out.extend(self._buffers.full(self._source, self._replay_id))
        return out

    def _single(self, kind: object, message: Any, received_ns: int) -> Sequence[Output]:
        match kind:
            case "tandem.heartbeat":
                return self._heartbeat(message, received_ns)
            case "tandem.replay":
                return self._replay(message)
            case "subscription":
                return (Subscribed(symbols=frozenset(_strings(message.get("trades", [])))),)
            case "error":
                return (StreamError(code=_integer(message, "code"), message=str(message.get("msg", ""))),)
            case "success":
                return ()
            case "c" | "x":
                raise BadRecord("correction_not_applied", f"a {'correction' if kind == 'c' else 'cancel'} of a trade that was recorded")
            case None:
                raise BadRecord("message_malformed", "no map with a text T was found")
            case _:
                raise BadRecord("type_unknown", f"T {kind!r}: only trades were asked for")

    def _heartbeat(self, message: dict[str, Any], received_ns: int) -> Sequence[Output]:
        if self._replay_id is None or message.get("replay_id") != self._replay_id:
            raise BadRecord("replay_unannounced", f"heartbeat of replay {message.get('replay_id')!r}, the stream is {self._replay_id!r}")
        return self.beat(
            _integer(message, "watermark_ns"),
            received_ns,
            lockstep=_flag(message, "lockstep"),
            end_of_stream=_flag(message, "end_of_stream"),
        )

    def _replay(self, message: dict[str, Any]) -> Sequence[Output]:
        replay_id, lockstep = message.get("replay_id"), _flag(message, "lockstep")
        if not isinstance(replay_id, str) or not replay_id or message.get("source") != Source.RECYCLED:
            raise BadRecord(
                "replay_malformed", f"replay {replay_id!r} of source {message.get('source')!r}: a name and 'recycled' are needed"
            )
        if self._source is not Source.RECYCLED:
            raise BadSetting(f"TANDEM_SOURCE is {self._source.value}, but the stream is a replay: it would be recorded as real history")
        if replay_id == self._replay_id:
            return ()
        waiting = self.drain()
        self._replay_id, self._seen, self.last_event_ns = replay_id, Window(), 0
        return (*waiting, ReplayBegan(source=self._source, replay_id=replay_id, lockstep=lockstep))


def _only_trades(messages: Sequence[Any]) -> bool:
    """The usual payload, found out at the speed of C."""
    try:
        return set(map(_type_of, messages)) == _ONLY_TRADES
    except (KeyError, TypeError):  # no map, no T, or a T that cannot be in a set: `_kind` says what it is
        return False


def _kind(message: Any) -> str | None:
    kind = message.get("T") if isinstance(message, dict) else None
    return kind if isinstance(kind, str) else None


def _integer(message: dict[str, Any], name: str) -> int:
    value = message.get(name)
    if type(value) is not int:
        raise BadRecord("field_invalid", f"{message['T']}: {name} {value!r}, expected an integer")
    return value


def _flag(message: dict[str, Any], name: str) -> bool:
    value = message.get(name, False)
    if type(value) is not bool:
        raise BadRecord("field_invalid", f"{message['T']}: {name} {value!r}, expected true or false")
    return value


def _strings(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadRecord("field_invalid", f"subscription: trades {value!r}, expected a list of symbols")
    return value
