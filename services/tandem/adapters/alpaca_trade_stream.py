"""Alpaca's trade_updates websocket through alpaca-py, as typed events in a queue. Runs in a thread of its own and decides nothing.

alpaca-py keeps the connection: authentication, subscription, backoff. Its parsed mode loses updates with a status it does not know and
makes floats of money, so messages are taken raw. It drops messages of other streams without a word; `_dispatch` is overridden to see the
recycler's heartbeats and the server's answer to the subscription as well.
"""

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from alpaca.trading.stream import TradingStream

from tandem.adapters.alpaca_broker import fill_of, order_report
from tandem.domain.errors import BadRecord
from tandem.domain.trading import Fill
from tandem.domain.units import ns_of_rfc3339
from tandem.ports import OrderReport

_EXECUTIONS = ("fill", "partial_fill")
_STOP_TIMEOUT_S = 5.0
_STARTED_TIMEOUT_S = 10.0
_CLOSE_S_MAX = 2.0  # a server whose last message nobody reads on does not say goodbye; the library waits 10 s for it, twice
_SOCKET_MESSAGES_MAX = 1_024  # alpaca-py's own value


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReady:
    """Connected, authorised and listening. What happened before must be asked for by REST."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLost:
    """The connection is gone or could not be made. alpaca-py tries again by itself."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeUpdate:
    """Something happened to an order; `fill` is the execution if there was one."""

    event: str
    report: OrderReport
    fill: Fill | None
    event_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerHeartbeat:
    """The recycler has sent every update before the watermark. charges: how many fees, dividends and the like it has booked so far."""

    replay_id: str
    watermark_ns: int
    lockstep: bool
    end_of_stream: bool
    charges: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """A message that cannot be used, to be parked with its reason."""

    payload: bytes
    error: BadRecord


StreamEvent = StreamReady | StreamLost | TradeUpdate | BrokerHeartbeat | Unusable


class AlpacaTradeStream(TradingStream):
    """Trade updates and heartbeats, each given to `deliver` in the order in which it came, from the stream's own thread."""

    def __init__(
        self, deliver: Callable[[StreamEvent], None], *, key_id: str, secret_key: str, url: str | None, paper: bool = True
    ) -> None:
        """url: url_override, None for Alpaca itself. paper: which of its two accounts. deliver: must not block for long."""
        super().__init__(
            key_id,
            secret_key,
            paper=paper,
            raw_data=True,
            url_override=url or None,
            websocket_params={
                "ping_interval": 10,  # alpaca-py's own values
                "ping_timeout": 180,
                "close_timeout": _CLOSE_S_MAX,
                "max_queue": _SOCKET_MESSAGES_MAX,
            },
        )
        logging.getLogger("alpaca.trading.stream").addFilter(_without_traceback)
        self._deliver = deliver
        self._thread = threading.Thread(target=self.run, name="trade-updates", daemon=True)
        self.subscribe_trade_updates(_never_called)

    def start(self) -> None:
        """Connect, and connect again after each loss, until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """Close the socket and end the thread."""
        if self._loop is not None and self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._stop_now(), self._loop)
            self._thread.join(timeout=_STOP_TIMEOUT_S)

    async def _stop_now(self) -> None:
        await self.stop_ws()
        if self._ws is not None:
            await self._ws.close()  # wakes the receive loop, which would else look only every 5 s

    async def _dispatch(self, msg: Any) -> None:
        """Every message of the socket, already parsed from JSON."""
        stream = msg.get("stream") if isinstance(msg, dict) else None
        if stream == "listening":
            self._deliver(StreamReady())
        else:
            self._deliver(parse(msg))

    async def _start_ws(self) -> None:
        try:
            await super()._start_ws()
        except (OSError, ValueError, AttributeError) as error:  # refused; unauthorised; no answer that can be read
            self._deliver(StreamLost(reason=f"cannot connect: {error}"))
            raise

    async def close(self) -> None:
        """Close the socket, and say so if it was in use."""
        if self._running and self._should_run:
            self._deliver(StreamLost(reason="connection closed"))
        await super().close()


async def _never_called(_: object) -> None:
    """alpaca-py subscribes only for a handler; ours is replaced by `_dispatch`."""
    raise AssertionError("messages go through _dispatch")


def _without_traceback(record: logging.LogRecord) -> bool:
    """alpaca-py writes a traceback for each failed connection, which the queue has told already."""
    return record.exc_info is None or not isinstance(record.exc_info[1], OSError | ValueError)


def parse(message: Any) -> StreamEvent:
    """One message as an event; Unusable with its reason if it is none."""
    try:
        stream, data = message["stream"], message["data"]
        if stream == "tandem.heartbeat":
            return BrokerHeartbeat(
                replay_id=str(data["replay_id"]),
                watermark_ns=int(data["watermark_ns"]),
                lockstep=bool(data["lockstep"]),
                end_of_stream=bool(data["end_of_stream"]),
                charges=int(data.get("charges", 0)),
            )
        if stream != "trade_updates":
            raise BadRecord("stream_unknown", f"stream {stream!r}, expected trade_updates")
        return _trade_update(data)
    except BadRecord as error:
        return Unusable(payload=_text(message), error=error)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        return Unusable(payload=_text(message), error=BadRecord("update_malformed", repr(error)))


def _trade_update(data: Mapping[str, Any]) -> TradeUpdate:
    report, order = order_report(data["order"]), data["order"]
    event = str(data["event"])
    moment = data.get("timestamp") or order.get("updated_at")
    fill = None
    if event in _EXECUTIONS:
        raw = {"symbol": order["symbol"], "side": order["side"], "qty": data.get("qty"), "price": data.get("price"), "timestamp": moment}
        execution_id, client_order_id = str(data["execution_id"]), report.client_order_id
        fill = fill_of(execution_id=execution_id, client_order_id=client_order_id, raw=raw, time_field="timestamp")
    return TradeUpdate(event=event, report=report, fill=fill, event_ns=ns_of_rfc3339(str(moment)))


def _text(message: Any) -> bytes:
    """As the library that read it writes it: a faster one refuses whole numbers beyond 64 bits and half characters."""
    return json.dumps(message, default=str).encode()
