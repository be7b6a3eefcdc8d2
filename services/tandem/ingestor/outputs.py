"""What the intake hands on: frames and heartbeats to publish, questions to ask, things to count and to tell. Read by ingestor/pump.py."""

from collections.abc import Mapping
from dataclasses import dataclass

from tandem.domain.market import Heartbeat, Source
from tandem.ingestor.frames import StampedFrame
from tandem.ingestor.gap import FillWanted
from tandem.ingestor.trades import Parked


@dataclass(frozen=True, slots=True, kw_only=True)
class StampedHeartbeat:
    """A heartbeat for one sector, and when it reached us (wall time). flags: symbols that are halted or restricted."""

    heartbeat: Heartbeat
    ingested_ns: int
    flags: Mapping[str, int]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """Trades that the stream had not brought, and history had."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflated:
    """Quotes that a newer one of the same symbol replaced before they were published."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeMissed:
    """A symbol that the stream said was halted trades: nobody told of its halt's end."""

    symbol: str
    event_ns: int


Noted = Subscribed | StreamError | ReplayBegan | Duplicates | Recovered | Conflated | ResumeMissed
Output = StampedFrame | StampedHeartbeat | FillWanted | Parked | Noted
