"""Who is subscribed to which market data, and sending it to them. The replay loop calls it; feed_socket.py talks to the clients.

A slow subscriber holds the replay up: sending waits for it, and nothing is dropped, unless a limit is set. Subscribers who want the same
in the same form share the encoded payloads. Everything goes out in the order of the recording; a bar after the last trade before its end.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray
from starlette.websockets import WebSocketDisconnect

from tandem.adapters.telemetry import counter
from tandem.adapters.tick_build import TickStore
from tandem.domain.ids import Symbol
from tandem.domain.market import (
    KIND_ASK,
    KIND_BAND_HIGH,
    KIND_BAND_LOW,
    KIND_BID,
    KIND_CANCEL,
    KIND_CORRECTION,
    KIND_STATUS,
    KIND_TRADE,
    KINDS,
)
from tandem.recycler.encoding import MESSAGES_MAX, Wire, bars_payload, control_payload, data_payload
from tandem.recycler.history import History
from tandem.recycler.live_bars import BARS, DAILY_BARS, UPDATED_BARS, DueBars, LiveBars
from tandem.recycler.tick_encoding import TickEncoder

EVERY = "*"
TRADES, QUOTES, STATUSES, LULDS = "trades", "quotes", "statuses", "lulds"
CHANNELS = (TRADES, QUOTES, BARS, UPDATED_BARS, DAILY_BARS, STATUSES, LULDS)  # Alpaca's; corrections and cancelErrors follow trades
_BARS_AS = {BARS: "b", UPDATED_BARS: "u", DAILY_BARS: "d"}
_CHANNEL_OF = {
    KIND_TRADE: TRADES,
    KIND_CORRECTION: TRADES,
    KIND_CANCEL: TRADES,
    KIND_BID: QUOTES,
    KIND_ASK: QUOTES,
    KIND_STATUS: STATUSES,
    KIND_BAND_LOW: LULDS,
    KIND_BAND_HIGH: LULDS,
}
_CHANNELS_MAX = max(KINDS) + 1

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What subscribers are sent: those with the same are sent the same bytes."""

    wire: Wire
    names: tuple[frozenset[str], ...]  # of each of CHANNELS

    def of(self, channel: str) -> frozenset[str]:
        """The names of a channel."""
        return self.names[CHANNELS.index(channel)]

    def __bool__(self) -> bool:
        return any(self.names)


@dataclass(slots=True, eq=False)
class Subscriber:
    """One authenticated client and its channels."""

    wire: Wire
    send: Callable[[bytes], Awaitable[None]]  # raises WebSocketDisconnect when the client has gone
    dismiss: Callable[[], Awaitable[None]]  # of a slow client
    channels: dict[str, set[str]] = field(default_factory=lambda: {channel: set() for channel in CHANNELS})

    @property
    def wanted(self) -> Wanted:
        """The key under which it shares payloads with others."""
        return Wanted(self.wire, tuple(frozenset(self.channels[channel]) for channel in CHANNELS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A status or a band that is not in the recording but happened to its market."""

    channel: str
    symbol: Symbol
    event_ns: int
    document: Mapping[str, Any]


_Groups = dict[Wanted, list[Subscriber]]


class Feed:
    """All subscribers of market data of one recording."""

    def __init__(self, store: TickStore, history: History, *, send_limit_s: float = 0.0) -> None:
        """send_limit_s: who does not take a payload for so long is sent away as a slow client; 0: is waited for."""
        self._ticks, self._symbols = store.data.ticks, store.data.symbols
        self._store, self._live = store, LiveBars(history)
        self._encoder, self._send_limit_s = TickEncoder(store), send_limit_s
        self._now_ns = 0
        self._announcements: list[Announcement] = []
        self._masks: dict[frozenset[str], NDArray[np.bool_]] = {}
        self.place = 0  # every tick before it has been sent, or is on its way to those who were subscribed before
        self.subscribers: list[Subscriber] = []
        self.sent_by_symbol: NDArray[np.int64] = np.zeros(len(self._symbols), np.int64)

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """What the recording holds."""
        return self._symbols

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that are replayed."""
        return self._store.files

    @property
    def synthetic(self) -> Mapping[Symbol, Symbol]:
        """Symbols that are made up, and from which."""
        return self._store.synthetic

    def has(self, channel: str) -> bool:
        """Whether the recording can fill a channel; a market without halts is one in which nothing was halted."""
        return channel != QUOTES or any(len(places) for places in self._store.quotes.values())

    def begin(self, place: int, now_ns: int) -> None:
        """A new pass from this place and time on."""
        self.place, self._now_ns = place, now_ns
        self._live.begin(now_ns)
        self._announcements.clear()
        self.sent_by_symbol[:] = 0

    def drop(self, subscriber: Subscriber) -> None:
        """Forget a subscriber; nothing happens if it is gone already."""
        if subscriber in self.subscribers:
            self.subscribers.remove(subscriber)

    def whole(self, stop: int) -> int:
        """The next place at which the tape can be cut without parting the two rows of one message."""
        return stop + 1 if stop < len(self._ticks) and self._ticks["kind"][stop] in (KIND_ASK, KIND_BAND_HIGH) else stop

    def release(self, place: int) -> None:
        """The replay has passed this place: the pages before it need not stay in memory."""
        self._store.release(place)

    def announce(self, announcement: Announcement) -> None:
        """Send this with the next ticks, before those that are not before it, or at the next `flush`."""
        self._announcements.append(announcement)

    async def send(self, start: int, stop: int, now_ns: int) -> None:
        """Send the ticks at places [start, stop) and the bars that had ended by now_ns, each once and in order of time."""
        self.place = stop
        groups, announced = self._groups(), self._announced(start, stop)
        is_wanted = any(wanted.of(channel) for wanted in groups for channel in _BARS_AS)
        due = self._live.due(now_ns, is_wanted=is_wanted)
        sent = np.zeros(stop - start, np.bool_)
        for wanted, members in groups.items():
            places = self._places(wanted, start, stop)
            sent[places - start] = True
            begin = 0
            items: list[tuple[int, DueBars | Announcement]] = [*((one.place, one) for one in due), *announced]
            for place, between in sorted(items, key=lambda item: item[0]):
                if not (payloads := self._between(wanted, between)):
                    continue
                cut = max(int(np.searchsorted(places, place)), begin)
                await self._send_ticks(wanted.wire, members, places[begin:cut])
                begin = cut
                for payload in payloads:
                    await self._deliver(members, payload)
            await self._send_ticks(wanted.wire, members, places[begin:])
        self._count(start + np.flatnonzero(sent))
        self._now_ns = now_ns

    async def flush(self) -> None:
        """Send what was announced."""
        announced = self._announced(self.place, self.place)
        for wanted, members in self._groups().items() if announced else ():
            for _, one in announced:
                for payload in self._between(wanted, one):
                    await self._deliver(members, payload)

    async def tell(self, message: Mapping[str, Any]) -> None:
        """Send a control message to every subscriber that has subscribed to something."""
        for wanted, members in self._groups().items():
            if wanted:
                await self._deliver(members, control_payload(wanted.wire, message))

    def _groups(self) -> _Groups:
        groups: _Groups = {}
        for subscriber in self.subscribers:
            groups.setdefault(subscriber.wanted, []).append(subscriber)
        return groups

    def _places(self, wanted: Wanted, start: int, stop: int) -> NDArray[np.int64]:
        """Places of the ticks that these subscribers want."""
        rows = self._ticks[start:stop]
        if len(rows) == 0 or not wanted:
            return np.empty(0, np.int64)
        table = np.zeros((_CHANNELS_MAX, len(self._symbols)), np.bool_)
        for kind, channel in _CHANNEL_OF.items():
            table[kind] = self._mask(wanted.of(channel))
        return start + np.flatnonzero(table[rows["kind"], rows["symbol"]])

    def _announced(self, start: int, stop: int) -> list[tuple[int, Announcement]]:
        """What was announced since the last time, and the places at which it stands."""
        found, self._announcements = self._announcements, []
        places = (int(np.searchsorted(self._store.event_ns, one.event_ns, side="left")) for one in found)
        return [(min(max(place, start), stop), one) for place, one in zip(places, found, strict=True)]

    def _between(self, wanted: Wanted, item: DueBars | Announcement) -> list[bytes]:
        """What stands between two ticks, for those who want it."""
        names = wanted.of(item.channel)
        if isinstance(item, Announcement):
            is_wanted = EVERY in names or item.symbol in names
            return [data_payload(wanted.wire, item.document, item.event_ns)] if is_wanted else []
        rows = np.flatnonzero(self._mask(names)[item.table.symbol]) if names else np.empty(0, np.int64)
        parts = (rows[start : start + MESSAGES_MAX].tolist() for start in range(0, len(rows), MESSAGES_MAX))
        return [bars_payload(wanted.wire, item.table, part, _BARS_AS[item.channel]) for part in parts]

    async def _send_ticks(self, wire: Wire, members: Sequence[Subscriber], places: NDArray[np.int64]) -> None:
        for payload in self._encoder.payloads(wire, places):
            await self._deliver(members, payload)

    async def _deliver(self, members: Sequence[Subscriber], payload: bytes) -> None:
        for subscriber in members:
            if subscriber not in self.subscribers:
                continue
            try:
                async with asyncio.timeout(self._send_limit_s or None):
                    await subscriber.send(payload)
            except WebSocketDisconnect:
                log.info("subscriber_gone", stream="market_data")
                self.drop(subscriber)
            except TimeoutError:
                log.warning("subscriber_slow", stream="market_data", limit_s=self._send_limit_s)
                self.drop(subscriber)
                await subscriber.dismiss()

    def _mask(self, names: frozenset[str]) -> NDArray[np.bool_]:
        """Which symbols these names are. Kept, as the names seldom change and the ticks come in thousands of blocks."""
        if names not in self._masks:
            if len(self._masks) > 64:
                self._masks.clear()
            everything = EVERY in names
            self._masks[names] = np.array([everything or name in names for name in self._symbols])
        return self._masks[names]

    def _count(self, places: NDArray[np.int64]) -> None:
        """Ticks that went to at least one subscriber, each counted once."""
        if len(places):
            self.sent_by_symbol += np.bincount(self._store.symbol[places], minlength=len(self._symbols))
            counter("recycler_ticks_sent_total").inc(len(places))


def refused(channels: Mapping[str, Sequence[str]], feed: Feed) -> Iterator[tuple[int, str]]:
    """(code, message) for each part of a subscription that the recording cannot serve."""
    for channel, names in channels.items():
        if not feed.has(channel):
            if names:
                yield 410, f"invalid subscribe action for this feed: the recording holds no {channel}"
        elif missing := sorted({name for name in names if name != EVERY and name not in feed.symbols}):
            yield 405, f"symbol not available: the recording holds no {', '.join(missing)} (it holds {', '.join(feed.symbols)})"
