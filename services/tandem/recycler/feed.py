"""Who is subscribed to which market data, and sending it to them. The replay loop calls it; feed_socket.py talks to the clients.

A slow subscriber holds the replay up: sending waits for it, and nothing is dropped. Subscribers who want the same in the same form share
the encoded payloads. Trades and bars go out in order of event time: a bar after the last trade before its end.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray
from starlette.websockets import WebSocketDisconnect

from tandem.adapters.market_file import MarketData
from tandem.adapters.telemetry import counter
from tandem.domain.ids import Symbol
from tandem.domain.market import TickArray
from tandem.recycler.encoding import MESSAGES_MAX, TradeEncoder, Wire, bars_payload, control_payload
from tandem.recycler.history import History

EVERY = "*"
TRADES, BARS = "trades", "bars"
# Alpaca's channels. Those that a recording cannot fill are refused, except these: a recording without halts is a market without halts.
CHANNELS = (TRADES, "quotes", BARS, "updatedBars", "dailyBars", "statuses", "lulds")
SILENT = ("updatedBars", "statuses", "lulds")

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Subscriber:
    """One authenticated client and its channels."""

    wire: Wire
    send: Callable[[bytes], Awaitable[None]]  # raises WebSocketDisconnect when the client has gone
    channels: dict[str, set[str]] = field(default_factory=lambda: {channel: set() for channel in CHANNELS})

    @property
    def wanted(self) -> tuple[Wire, frozenset[str], frozenset[str]]:
        """What it is sent: subscribers with the same key are sent the same bytes."""
        return self.wire, frozenset(self.channels[TRADES]), frozenset(self.channels[BARS])


class Feed:
    """All subscribers of market data of one recording."""

    def __init__(self, data: MarketData, history: History) -> None:
        self._ticks: TickArray = data.ticks
        self._symbols = data.symbols
        self._history = history
        self._encoder = TradeEncoder(data.symbols)
        self._bars_sent = 0  # rows of the bar table, set when somebody wants bars
        self._now_ns = 0
        self.subscribers: list[Subscriber] = []
        self.sent_by_symbol: NDArray[np.int64] = np.zeros(len(data.symbols), np.int64)

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """What the recording holds."""
        return self._symbols

    def begin(self, now_ns: int) -> None:
        """A new pass from this time on."""
        self._now_ns = now_ns
        self._bars_sent = -1
        self.sent_by_symbol[:] = 0

    def drop(self, subscriber: Subscriber) -> None:
        """Forget a subscriber; nothing happens if it is gone already."""
        if subscriber in self.subscribers:
            self.subscribers.remove(subscriber)

    async def send(self, start: int, stop: int, now_ns: int) -> None:
        """Send the ticks at places [start, stop) and the bars that had ended by now_ns, each once and in order of time."""
        groups = self._groups()
        due = self._due_bars(groups, now_ns)
        cuts = self._history.stream_places[due] if len(due) else np.empty(0, np.int64)
        for (wire, trades, bars), members in groups.items():
            wanted_bars = due[self._mask(bars)[self._history.stream.symbol[due]]] if bars and len(due) else due[:0]
            if len(wanted_bars) == 0:
                await self._send_trades(wire, trades, members, self._ticks[start:stop])
                continue
            begin = start
            for cut in np.unique(cuts[np.isin(due, wanted_bars)]).tolist():
                await self._send_trades(wire, trades, members, self._ticks[begin : max(cut, begin)])
                begin = max(cut, begin)
                await self._send_bars(wire, members, wanted_bars[self._history.stream_places[wanted_bars] == cut])
            await self._send_trades(wire, trades, members, self._ticks[begin:stop])
        self._count(groups, start, stop)
        self._now_ns = now_ns

    async def tell(self, message: Mapping[str, Any]) -> None:
        """Send a control message to every subscriber that has subscribed to something."""
        for (wire, trades, bars), members in self._groups().items():
            if trades or bars:
                await self._deliver(members, control_payload(wire, message))

    def _groups(self) -> dict[tuple[Wire, frozenset[str], frozenset[str]], list[Subscriber]]:
        groups: dict[tuple[Wire, frozenset[str], frozenset[str]], list[Subscriber]] = {}
        for subscriber in self.subscribers:
            groups.setdefault(subscriber.wanted, []).append(subscriber)
        return groups

    def _due_bars(self, groups: Mapping[tuple[Wire, frozenset[str], frozenset[str]], object], now_ns: int) -> NDArray[np.int64]:
        """Rows of bars that ended since the last call. The table is not made as long as nobody wants bars."""
        if not any(bars for _, _, bars in groups):
            self._bars_sent = -1
            return np.empty(0, np.int64)
        end_ns = self._history.stream.end_ns
        first = self._bars_sent if self._bars_sent >= 0 else int(np.searchsorted(end_ns, self._now_ns, side="right"))
        self._bars_sent = max(first, int(np.searchsorted(end_ns, now_ns, side="right")))
        return np.arange(first, self._bars_sent)

    async def _send_trades(self, wire: Wire, trades: frozenset[str], members: Sequence[Subscriber], ticks: TickArray) -> None:
        if not trades or len(ticks) == 0:
            return
        mask = self._mask(trades)
        wanted = ticks if mask.all() else ticks[mask[ticks["symbol"]]]
        for payload in self._encoder.payloads(wire, wanted):
            await self._deliver(members, payload)

    async def _send_bars(self, wire: Wire, members: Sequence[Subscriber], rows: NDArray[np.int64]) -> None:
        for start in range(0, len(rows), MESSAGES_MAX):
            part: list[int] = rows[start : start + MESSAGES_MAX].tolist()
            await self._deliver(members, bars_payload(wire, self._history.stream, part))

    async def _deliver(self, members: Sequence[Subscriber], payload: bytes) -> None:
        for subscriber in members:
            try:
                await subscriber.send(payload)
            except WebSocketDisconnect:
                log.info("subscriber_gone", stream="market_data")
                self.drop(subscriber)

    def _mask(self, names: frozenset[str]) -> NDArray[np.bool_]:
        if EVERY in names:
            return np.ones(len(self._symbols), np.bool_)
        return np.array([name in names for name in self._symbols])

    def _count(self, groups: Mapping[tuple[Wire, frozenset[str], frozenset[str]], object], start: int, stop: int) -> None:
        """Ticks that went to at least one subscriber, each counted once."""
        names = frozenset(name for _, trades, _ in groups for name in trades)
        if not names or start == stop:
            return
        counts = np.bincount(self._ticks["symbol"][start:stop], minlength=len(self._symbols)) * self._mask(names)
        self.sent_by_symbol += counts
        counter("recycler_ticks_sent_total").inc(int(counts.sum()))


def refused(channels: Mapping[str, Sequence[str]], known: Sequence[Symbol]) -> Iterator[tuple[int, str]]:
    """(code, message) for each part of a subscription that the recording cannot serve."""
    for channel, names in channels.items():
        if channel not in (TRADES, BARS, *SILENT):
            yield 410, f"invalid subscribe action for this feed: the recording holds no {channel}"
        elif missing := sorted({name for name in names if name != EVERY and name not in known}):
            yield 405, f"symbol not available: the recording holds no {', '.join(missing)} (it holds {', '.join(known)})"
