"""What a payload of the market-data stream means: ticks into frames, heartbeats, a new replay, an error, or something to park.

Holds the state of the stream (which replay, what waits in buffers, which ticks were seen, whether there is a hole) and touches nothing
outside: payloads and history in, outputs out, in the order in which they must be published. Called by ingestor/pump.py, which owns socket,
clock, history and Kafka.
"""

import reprlib
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from tandem.domain.errors import BadRecord
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import TICK_DTYPE, Heartbeat, Source, TickArray
from tandem.ingestor.control_messages import check_replay, flag, integer, kind_of, kinds_of, strings
from tandem.ingestor.frames import FrameBuffers
from tandem.ingestor.gap import ALL, CHECKS, Gap, HeldBeat, HeldReplay, HeldTicks
from tandem.ingestor.happenings import Happenings, Row
from tandem.ingestor.outputs import (
    Conflated,
    Duplicates,
    Output,
    Recovered,
    ReplayBegan,
    ResumeMissed,
    StampedHeartbeat,
    StreamError,
    Subscribed,
)
from tandem.ingestor.past import Past
from tandem.ingestor.plausible import Prices
from tandem.ingestor.quotes import newest_of_each, read_quotes
from tandem.ingestor.trades import Parked, parked_with, read_trades

_SAID_CHARS_MAX = 200  # of an error's words, which stand in the log and in /readyz
_ONLY_TRADES, _ONLY_QUOTES = {"t"}, {"q"}


class Intake:
    """The state of one market-data stream. `source` is what the settings say the stream is."""

    def __init__(self, source: Source, *, overlap_ns: int = 0, fills: bool = False, verifies: bool = False) -> None:
        """overlap_ns: how far before the last heartbeat history is asked again. fills: somebody answers FillWanted.

        verifies: every heartbeat of a replay waits until history has confirmed what lies before it, not only the first ones.
        """
        self._source, self._overlap_ns, self._fills = source, overlap_ns, fills
        self._replay_id: str | None = None if source is Source.RECYCLED else ""
        self._buffers = FrameBuffers()
        self._happenings = Happenings()
        self._prices = Prices()
        self._gap = Gap(checks=(ALL if verifies else CHECKS) if fills else 0)
        self._is_new_connection = False
        self._begin_ns: int | None = None  # from when on the stream is asked to be complete where a topic does not say
        self.last_event_ns = 0
        self.heard_ns = 0  # the watermark of the last heartbeat that the stream brought
        self.conflates = False  # quotes may be left out while we are behind; never in a replay, whose sender waits

    @property
    def sectors(self) -> tuple[SectorId, ...]:
        """The sectors that ticks go to."""
        return self._buffers.sectors

    @property
    def source(self) -> Source:
        """What the settings say the stream is."""
        return self._source

    @property
    def replay_id(self) -> str | None:
        """The replay that the stream is; None before it said so, "" for a live feed."""
        return self._replay_id

    @property
    def covered_from_ns(self) -> int:
        """From when on a trade that comes again is recognised."""
        return self._buffers.covered_from_ns()

    def stale(self, before_ns: int) -> dict[str, tuple[str, ...]]:
        """By sector, the followed symbols whose last trade is older than a time; those that never traded are among them."""
        return self._buffers.stale(before_ns)

    @property
    def is_whole(self) -> bool:
        """Whether everything up to now was seen: no question to history is open."""
        return not self._gap.holding

    @property
    def is_full(self) -> bool:
        """Whether so much waits for history that the socket must wait too."""
        return self._gap.holding and self._gap.is_full

    def route(self, routes: Mapping[SectorId, tuple[Symbol, ...]], pasts: Mapping[SectorId, Past] | None = None) -> tuple[Output, ...]:
        """From now on these symbols belong to these sectors; what waits goes out as it was. pasts: what new sectors' topics hold."""
        waiting = self.drain()
        known = set(self._buffers.sectors)
        self._buffers.route(routes, pasts)
        if self._replay_id is not None:
            for sector in sorted(set(self._buffers.sectors) - known):
                self._happenings.restore(self._buffers.resume(sector, self._source, self._replay_id))
            self._seed()
        return waiting

    def _seed(self) -> None:
        """Last prices from what the topics hold of this stream."""
        for past in self._buffers.pasts(self._source, self._replay_id or ""):
            self._prices.seed(past.ticks, np.array([self._buffers.numbers[symbol] for symbol in past.symbols], np.int64))

    def connected(self) -> None:
        """A connection was made: whatever it brings waits until it is known what was missed."""
        self._is_new_connection = True
        self._gap.holding = self._fills

    def doubt(self) -> None:
        """Something could not be read. A replay asks history what it was before its next heartbeat, a live feed at its next audit."""
        if self._fills:
            self._gap.checks_left = max(self._gap.checks_left, 1)

    def lost(self) -> None:
        """The connection is gone."""
        self._gap.interrupt()

    def take(self, messages: Sequence[Any], received_ns: int) -> tuple[Output, ...]:
        """One payload. Raises BadSetting if the stream is a replay and the settings say that it is not."""
        kinds = kinds_of(messages)
        if kinds == _ONLY_TRADES:
            return tuple(self._trades(messages, received_ns))
        if kinds == _ONLY_QUOTES:
            return tuple(self._quotes(messages, received_ns))
        out: list[Output] = []
        for kind, run in groupby(messages, key=kind_of):
            part = list(run)
            if kind == "t":
                out.extend(self._trades(part, received_ns))
            elif kind == "q":
                out.extend(self._quotes(part, received_ns))
            else:
                out.extend(output for message in part for output in self._patiently(kind, message, received_ns))
        return tuple(out)

    def drain(self) -> tuple[Output, ...]:
        """All ticks that wait, as frames."""
        return tuple(self._buffers.drain(self._source, self._replay_id or ""))

    def beat(self, watermark_ns: int, received_ns: int, *, lockstep: bool = False, end_of_stream: bool = False) -> tuple[Output, ...]:
        """What waits as frames, then a heartbeat for each sector that has not had it."""
        beats = []
        for sector in self._buffers.sectors:
            if (last_ns := self._buffers.watermark(sector)) is not None and last_ns >= watermark_ns:
                continue
            self._buffers.reached(sector, watermark_ns, watermark_ns - 2 * self._overlap_ns)
            heartbeat = Heartbeat(
                sector=sector,
                source=self._source,
                replay_id=self._replay_id or "",
                watermark_ns=watermark_ns,
                lockstep=lockstep,
                end_of_stream=end_of_stream,
            )
            flags = {symbol: flags for symbol, flags in self._happenings.flags.items() if flags}
            beats.append(StampedHeartbeat(heartbeat=heartbeat, ingested_ns=received_ns, flags=flags))
        return (*self.drain(), *beats)

    def fill(self, messages: Sequence[Any], received_ns: int) -> tuple[Output, ...]:
        """Trades of history, in the stream's form, and cancels of some. Those that a sector has already are left out there."""
        ticks, parked = read_trades([m for m in messages if m["T"] == "t"], self._buffers.numbers, received_ns)
        ticks, doubted = self._prices.passed(ticks, self._buffers.names)
        rows, bad = self._cancels([m for m in messages if m["T"] == "x"], received_ns)
        out: list[Output] = [*parked, *doubted, *bad]
        added, _ = self._buffers.add(ticks, received_ns, is_history=True)
        self._buffers.add(np.array(rows, TICK_DTYPE), received_ns, is_history=True)
        if added:
            out.append(Recovered(count=added))
        return (*out, *self._buffers.full(self._source, self._replay_id or ""))

    def _cancels(self, messages: Sequence[Any], received_ns: int) -> tuple[list[Row], list[Parked]]:
        rows, parked = [], []
        for message in messages:
            try:
                rows += self._happenings.read("x", message, self._buffers.numbers, received_ns)
            except BadRecord as error:
                parked.append(parked_with(error, message))
        return rows, parked

    def filled(self, number: int) -> tuple[Output, ...]:
        """History has answered: what waited goes on, up to the next heartbeat that history must confirm."""
        if number != self._gap.number:
            return ()  # the connection was lost meanwhile; another question follows
        self._gap.answered()
        return tuple(self._release())

    def _release(self) -> list[Output]:
        out: list[Output] = []
        while self._gap.held and not self._gap.holding:
            match self._gap.take():
                case HeldTicks() as held:
                    out.extend(self._pass(held.ticks, held.received_ns))
                case HeldBeat() as held:
                    out.extend(self._beat_of_stream(held))
                case HeldReplay() as held:
                    out.extend(self._replay(held.message))
        return out

    def _ask(self, until_ns: int | None) -> list[Output]:
        """The question to history about what may be missing; nothing where there was nothing before."""
        from_ns = self._buffers.complete_until_ns(self._begin_ns, self._overlap_ns)
        if from_ns is None or (until_ns is not None and from_ns >= until_ns):
            return []
        return [self._gap.ask(from_ns, until_ns, tuple(sorted(self._buffers.followed)))]

    def _trades(self, messages: Sequence[Any], received_ns: int) -> list[Output]:
        if self._replay_id is None:
            error = BadRecord("replay_unannounced", "TANDEM_SOURCE is recycled, but the stream sent trades before it named its replay")
            return [parked_with(error, message) for message in messages]
        ticks, parked = read_trades(messages, self._buffers.numbers, received_ns)
        ticks, doubted = self._prices.passed(ticks, self._buffers.names)
        if parked or doubted:
            self.doubt()
        missed: list[ResumeMissed] = []
        # A replay brings a status as surely as a trade, and its exchange halts symbols that the recording goes on trading.
        if self._source is not Source.RECYCLED and (rows := self._happenings.outlived(ticks, self._buffers.numbers)):
            ticks = np.concatenate((np.array(rows, TICK_DTYPE), ticks))
            missed = [ResumeMissed(symbol=self._buffers.names[row[4]], event_ns=row[0]) for row in rows]
        return [*parked, *doubted, *missed, *self._pass(ticks, received_ns)]

    def _quotes(self, messages: Sequence[Any], received_ns: int) -> list[Output]:
        if self._replay_id is None:
            error = BadRecord("replay_unannounced", "TANDEM_SOURCE is recycled, but the stream sent quotes before it named its replay")
            return [parked_with(error, message) for message in messages]
        out: list[Output] = []
        kept = newest_of_each(messages) if self.conflates and self._source is not Source.RECYCLED else messages
        if len(kept) < len(messages):
            out.append(Conflated(count=len(messages) - len(kept)))
        ticks, parked = read_quotes(kept, self._buffers.numbers, received_ns)
        ticks, doubted = self._prices.passed(ticks, self._buffers.names)
        return [*out, *parked, *doubted, *self._pass(ticks, received_ns)]

    def _pass(self, ticks: TickArray, received_ns: int) -> list[Output]:
        """Ticks on their way to the frames, or held."""
        if len(ticks) == 0:
            return []
        if self._gap.holding:
            self._gap.hold(HeldTicks(ticks=ticks, received_ns=received_ns))
            return []
        out: list[Output] = []
        self.last_event_ns = max(self.last_event_ns, int(ticks["event_ns"].max()))
        if repeated := self._buffers.add(ticks, received_ns)[1]:
            out.append(Duplicates(count=repeated))
        out.extend(self._buffers.full(self._source, self._replay_id or ""))
        return out

    def _patiently(self, kind: str | None, message: Any, received_ns: int) -> Sequence[Output]:
        """One message that is no trade or quote; a bad one is parked alone."""
        try:
            return self._single(kind, message, received_ns)
        except BadRecord as error:
            return (parked_with(error, message),)

    def _single(self, kind: str | None, message: Any, received_ns: int) -> Sequence[Output]:
        match kind:
            case "tandem.heartbeat":
                return self._heartbeat(message, received_ns)
            case "tandem.replay":
                return self._announced(message)
            case "subscription":
                return self._subscription(message, received_ns)
            case "error":
                said = message.get("msg", "")
                text = said[:_SAID_CHARS_MAX] if isinstance(said, str) else reprlib.repr(said)
                return (StreamError(code=integer(message, "code"), message=text),)
            case "success":
                return ()
            case "c" | "x" | "s" | "l":
                if self._replay_id is None:
                    raise BadRecord("replay_unannounced", f"a message {reprlib.repr(kind)} came before the stream named its replay")
                rows = self._happenings.read(kind, message, self._buffers.numbers, received_ns)
                if kind == "c" and rows[0][-1] == 0:  # a price that nothing uses needs no judgement
                    self._prices.check(self._buffers.numbers[message["S"]], float(message["cp"]), message["S"])
                return self._pass(np.array(rows, TICK_DTYPE), received_ns)
            case None:
                raise BadRecord("message_malformed", "no map with a text T was found")
            case _:
                raise BadRecord("type_unknown", f"T {reprlib.repr(kind)}: only trades, quotes and what happens to them were asked for")

    def _subscription(self, message: dict[str, Any], received_ns: int) -> Sequence[Output]:
        confirmed = Subscribed(symbols=frozenset(strings(message.get("trades", []))))
        if self._source is Source.RECYCLED or not self._is_new_connection:
            return (confirmed,)  # a replay names itself next
        self._is_new_connection = False
        question = self._ask(None) if self._fills else []
        if self._begin_ns is None:
            self._begin_ns = received_ns
        if question:
            return (confirmed, *question)
        self._gap.holding = False
        return (confirmed, *self._release())

    def _heartbeat(self, message: dict[str, Any], received_ns: int) -> Sequence[Output]:
        if self._replay_id is None or message.get("replay_id") != self._replay_id:
            raise BadRecord(
                "replay_unannounced", f"heartbeat of replay {reprlib.repr(message.get('replay_id'))}, the stream is {self._replay_id!r}"
            )
        beat = HeldBeat(
            watermark_ns=integer(message, "watermark_ns"),
            received_ns=received_ns,
            lockstep=flag(message, "lockstep"),
            end_of_stream=flag(message, "end_of_stream"),
        )
        self.heard_ns = beat.watermark_ns
        if self._gap.holding:
            self._gap.hold(beat)
            return ()
        return self._beat_of_stream(beat)

    def _beat_of_stream(self, beat: HeldBeat) -> Sequence[Output]:
        """A heartbeat that the stream brought: published, or kept until history has confirmed it."""
        if self._gap.must_check(beat.watermark_ns):
            if question := self._ask(beat.watermark_ns):
                self._gap.held.appendleft(beat)
                return (*self.drain(), *question)
            self._gap.checks_left -= 1
        return self.beat(beat.watermark_ns, beat.received_ns, lockstep=beat.lockstep, end_of_stream=beat.end_of_stream)

    def _announced(self, message: dict[str, Any]) -> Sequence[Output]:
        """The stream says which replay it is: at the begin of a connection, of a pass, and after each subscription."""
        check_replay(message, self._source)
        if self._gap.holding and not self._is_new_connection:
            self._gap.hold(HeldReplay(message=message))
            return ()
        if not self._is_new_connection:
            return self._replay(message)
        self._is_new_connection = False
        out: list[Output] = []
        if message["replay_id"] != self._replay_id:  # what waits is of the stream that ended
            self._gap.holding, self._gap.checks_left = False, 0
            out += self._release()
        out += self._replay(message)
        self._gap.checks_left = self._gap.checks
        question = self._ask(None) if self._fills else []
        if question:
            return (*out, *question)
        self._gap.holding = False
        return (*out, *self._release())

    def _replay(self, message: dict[str, Any]) -> Sequence[Output]:
        replay_id, lockstep = message["replay_id"], flag(message, "lockstep")
        if replay_id == self._replay_id:
            self._gap.checks_left = self._gap.checks  # symbols may have joined in the midst of a bar
            return ()
        waiting = self.drain()
        self._gap.checks_left, self._gap.checked_ns = (ALL if self._gap.checks == ALL else 0), -(2**63)
        self._replay_id, self.last_event_ns, self.heard_ns = replay_id, 0, 0
        self._begin_ns = message["start_ns"] if type(message.get("start_ns")) is int else None
        self._prices = Prices()
        self._happenings = Happenings()
        self._happenings.restore(self._buffers.begin(self._source, replay_id))
        self._seed()
        return (*waiting, ReplayBegan(source=self._source, replay_id=replay_id, lockstep=lockstep))
