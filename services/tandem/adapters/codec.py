"""Records to bytes and back: tick frames in binary, forecasts and control in JSON. Rejects what cannot be right.

Tick frame, little-endian: magic "TDMF", u8 version, u8 kind (1 ticks, 2 heartbeat), u16 length of the JSON header, u32 number of ticks,
the JSON header {sector, source, replay_id, symbols | watermark_ns, lockstep, end_of_stream}, padding to a multiple of 8, then the ticks.
"""

import struct
from dataclasses import asdict, fields
from decimal import Decimal
from functools import lru_cache
from typing import Any

import numpy as np
import orjson

from tandem.domain.control import (
    Canary,
    ControlRecord,
    Handover,
    PairSpec,
    PinnedVersion,
    RolloutRecord,
    RolloutRequest,
    RoutingPointer,
    TradingState,
    control_key,
)
from tandem.domain.errors import BadRecord
from tandem.domain.forecasts import (
    FORECAST_FIELDS,
    Forecast,
    ForecastBatch,
    ModelRef,
    forecasts_of,
    market_columns,
    read_columns,
)
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.market import KIND_CORRECTION, KIND_TRADE, KINDS, TICK_DTYPE, Heartbeat, Source, TickFrame
from tandem.domain.trading import TradingMode

_MAGIC = b"TDMF"
_VERSION = 1
_KIND_TICKS = 1
_KIND_HEARTBEAT = 2
_HEAD = struct.Struct("<4sBBHI")
FRAME_TICKS_MAX = 16_384  # 512 KiB: half of Kafka's default record limit
FORECAST_SCHEMA = 1
CONTROL_SCHEMA = 1
_BATCH_FIELDS = tuple(f.name for f in fields(ForecastBatch))
_CONTROL_KINDS = ("PairSpec", "RoutingPointer", "TradingState", "RolloutRecord", "RolloutRequest")


def encode_frame(frame: TickFrame) -> bytes:
    """A frame of at most FRAME_TICKS_MAX ticks as bytes."""
    if len(frame.ticks) > FRAME_TICKS_MAX:
        raise ValueError(f"frame of {len(frame.ticks)} ticks, at most {FRAME_TICKS_MAX} are allowed")
    header = {"sector": frame.sector, "source": frame.source, "replay_id": frame.replay_id, "symbols": frame.symbols}
    return _join(_KIND_TICKS, header, len(frame.ticks)) + frame.ticks.tobytes()


def encode_heartbeat(heartbeat: Heartbeat) -> bytes:
    """A heartbeat as bytes."""
    return _join(_KIND_HEARTBEAT, asdict(heartbeat), 0)


def _join(kind: int, header: dict[str, Any], count: int) -> bytes:
    body = orjson.dumps(header)
    fixed = _HEAD.size + len(body)
    return _HEAD.pack(_MAGIC, _VERSION, kind, len(body), count) + body + b" " * (-fixed % 8)


def decode_tick_record(data: bytes) -> TickFrame | Heartbeat:
    """The frame or heartbeat in a record of a tick topic; the ticks are a read-only view of `data`. Raises BadRecord."""
    if len(data) < _HEAD.size:
        raise BadRecord("frame_truncated", f"{len(data)} bytes, at least {_HEAD.size} are needed")
    magic, version, kind, header_bytes, count = _HEAD.unpack_from(data)
    if magic != _MAGIC or version != _VERSION:
        raise BadRecord("frame_unknown", f"magic {magic!r} version {version}, expected {_MAGIC!r} version {_VERSION}")
    start = _HEAD.size + header_bytes
    start += -start % 8
    if len(data) != start + count * TICK_DTYPE.itemsize:
        raise BadRecord("frame_truncated", f"{len(data)} bytes, the header announces {start + count * TICK_DTYPE.itemsize}")
    header = data[_HEAD.size : _HEAD.size + header_bytes]
    try:
        if kind == _KIND_HEARTBEAT:
            return _heartbeat(header)
        if kind != _KIND_TICKS:
            raise BadRecord("frame_unknown", f"kind {kind}, allowed are {_KIND_TICKS} and {_KIND_HEARTBEAT}")
        ticks = np.frombuffer(data, dtype=TICK_DTYPE, count=count, offset=start)
        sector, source, replay_id, symbols = _frame_header(header)
        frame = TickFrame(sector=sector, source=source, replay_id=replay_id, symbols=symbols, ticks=ticks)
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecord("frame_malformed", f"header cannot be read: {error}") from error
    _check_ticks(ticks)
    return frame


def _heartbeat(header: bytes) -> Heartbeat:
    doc = orjson.loads(header)
    beat = Heartbeat(**doc | {"source": Source(doc["source"])})
    if not isinstance(beat.watermark_ns, int) or isinstance(beat.watermark_ns, bool):
        raise ValueError(f"watermark_ns is {beat.watermark_ns!r}, must be a whole number")
    _texts(beat.sector, beat.replay_id)
    return beat


@lru_cache(maxsize=64)  # the frames of a stream have one header, in which naming the symbols is most of the work
def _frame_header(header: bytes) -> tuple[SectorId, Source, str, tuple[Symbol, ...]]:
    doc = orjson.loads(header)
    _texts(doc["sector"], doc["replay_id"], *doc["symbols"])
    return SectorId(doc["sector"]), Source(doc["source"]), doc["replay_id"], tuple(map(Symbol, doc["symbols"]))


def _texts(*values: object) -> None:
    for value in values:
        if not isinstance(value, str):
            raise TypeError(f"{value!r} where a text belongs")


def _check_ticks(ticks: np.ndarray[Any, Any]) -> None:
    """Refuse a frame that holds a price which cannot be traded on, or a kind this version does not know."""
    price, kind = ticks["price"], ticks["kind"]
    if len(ticks) == 0 or ((kind == KIND_TRADE).all() and price.min() > 0 and price.max() < np.inf):
        return  # what nearly all frames are; a NaN is above nothing
    is_execution = (kind == KIND_TRADE) | (kind == KIND_CORRECTION)
    if not (np.isfinite(price).all() and (price >= 0).all() and (price[is_execution] > 0).all()):
        raise BadRecord("price_invalid", "a price is not finite, below 0, or 0 where something was traded")
    if len(kind) and (int(kind.min()) < 1 or int(kind.max()) > max(KINDS)):
        raise BadRecord("kind_unknown", f"kinds {np.unique(kind).tolist()}, allowed are {sorted(KINDS)}")


def encode_forecasts(batch: ForecastBatch) -> bytes:
    """A batch as JSON, its market as columns: a list for each field. The same batch always gives the same bytes."""
    doc = {name: getattr(batch, name) for name in _BATCH_FIELDS}
    return orjson.dumps({"schema": FORECAST_SCHEMA, **doc, "market": market_columns(batch.market).columns if batch.market else {}})


def decode_forecasts(data: bytes) -> ForecastBatch:
    """The batch in a record of the forecasts topic. Raises BadRecord."""
    try:
        doc = orjson.loads(data)
        if doc.pop("schema") != FORECAST_SCHEMA:
            raise BadRecord("forecast_schema", f"unknown schema, expected {FORECAST_SCHEMA}")
        doc["model"] = ModelRef(**doc["model"])
        doc["source"] = Source(doc["source"])
        doc["forecasts"] = _forecasts(doc["forecasts"])
        doc["market"] = read_columns(doc.get("market", {}))
        return ForecastBatch(**doc)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRecord("forecast_malformed", str(error)) from error


def _forecasts(rows: list[dict[str, Any]]) -> tuple[Forecast, ...]:
    if rows and all(tuple(row) == FORECAST_FIELDS for row in rows):  # as encode_forecasts writes them
        return forecasts_of(list(zip(*(row.values() for row in rows), strict=True)))
    return tuple(Forecast(**row) for row in rows)


def encode_control(record: ControlRecord) -> tuple[bytes, bytes]:
    """(key, value) of a control record."""
    doc = {"schema": CONTROL_SCHEMA, "kind": type(record).__name__, **asdict(record)}
    return control_key(record).encode(), orjson.dumps(doc, default=_plain, option=orjson.OPT_SORT_KEYS)


def _plain(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form here")


def decode_control(data: bytes) -> ControlRecord:
    """The record in the control topic. Raises BadRecord."""
    try:
        doc = orjson.loads(data)
        if doc.pop("schema") != CONTROL_SCHEMA:
            raise BadRecord("control_schema", f"unknown schema, expected {CONTROL_SCHEMA}")
        kind = doc.pop("kind")
        if _holds_nul(doc):
            raise BadRecord("control_malformed", "a text holds the character NUL, which PostgreSQL takes in none")
        if kind == "PairSpec":
            doc["notional_usd"] = Decimal(doc["notional_usd"])
            return PairSpec(**doc | {"pair": PairId(doc["pair"])})
        if kind == "RoutingPointer":
            return _pointer(doc)
        if kind == "TradingState":
            return TradingState(**doc | {"mode": TradingMode(doc["mode"])})
        if kind == "RolloutRecord":
            return RolloutRecord(**doc)
        if kind == "RolloutRequest":
            return RolloutRequest(**doc)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise BadRecord("control_malformed", str(error)) from error
    raise BadRecord("control_kind", f"kind {kind!r}, allowed are {', '.join(_CONTROL_KINDS)}")


def _holds_nul(value: object) -> bool:
    match value:
        case str():
            return "\0" in value
        case dict():
            return any(map(_holds_nul, (*value.keys(), *value.values())))
        case list():
            return any(map(_holds_nul, value))
    return False


def _pointer(doc: dict[str, Any]) -> RoutingPointer:
    """Fields that an older writer did not know have their defaults."""
    canary, previous = doc.get("canary"), doc.get("previous")
    if canary is not None:
        pairs, cap = tuple(map(PairId, canary["pairs"])), Decimal(canary["notional_usd_max"])
        doc["canary"] = Canary(**canary | {"pairs": pairs, "notional_usd_max": cap})
    if previous is not None:
        doc["previous"] = PinnedVersion(**previous)
    return RoutingPointer(**doc | {"handover": Handover(doc.get("handover", Handover.HAND_OVER))})
