"""Records to bytes and back."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.adapters import codec
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
)
from tandem.domain.errors import BadRecord
from tandem.domain.forecasts import Forecast, ForecastBatch, MarketState, ModelRef, market_columns
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.market import KIND_TRADE, TICK_DTYPE, Heartbeat, Source, TickFrame
from tandem.domain.trading import TradingMode


def _frame(n: int = 3) -> TickFrame:
    ticks = np.zeros(n, TICK_DTYPE)
    ticks["event_ns"] = np.arange(n) + 1_381_152_600_123_456_789
    ticks["trade_id"] = np.arange(n) + 1
    ticks["price"] = 14.25 + np.arange(n)
    ticks["size"] = 100
    ticks["symbol"] = np.arange(n) % 2
    ticks["kind"] = KIND_TRADE
    return TickFrame(
        sector=SectorId("financial"), source=Source.RECYCLED, replay_id="r1", symbols=(Symbol("BAC"), Symbol("AIG")), ticks=ticks
    )


def _batch() -> ForecastBatch:
    forecast = Forecast(
        pair=PairId("BAC-AIG"),
        leg_a=Symbol("BAC"),
        leg_b=Symbol("AIG"),
        price_a=14.0,
        price_b=48.0,
        beta=0.31,
        mu=0.1,
        spread=-0.01,
        expected_spread=-0.009,
        z=-1.2,
        variance=1.5e-6,
        garch_variance=1.4e-6,
        reversion_probability=0.51,
        half_life_bars=40.0,
        bar_index=7,
    )
    return ForecastBatch(
        sector=SectorId("financial"),
        model=ModelRef(name="m", version="3", digest="d" * 64),
        source=Source.RECYCLED,
        replay_id="r1",
        bar_close_ns=60,
        lockstep=True,
        end_of_stream=False,
        forecasts=(forecast,),
    )


@given(st.integers(0, 300), st.text(max_size=40))
def test_a_frame_survives_the_round_trip(n: int, replay_id: str) -> None:
    """Whatever the header's length, the ticks are the same and aligned."""
    frame = _frame(n)
    frame = TickFrame(sector=frame.sector, source=frame.source, replay_id=replay_id, symbols=frame.symbols, ticks=frame.ticks)
    decoded = codec.decode_tick_record(codec.encode_frame(frame))
    assert isinstance(decoded, TickFrame)
    assert (decoded.sector, decoded.source, decoded.replay_id, decoded.symbols) == (
        frame.sector,
        frame.source,
        frame.replay_id,
        frame.symbols,
    )
    np.testing.assert_array_equal(decoded.ticks, frame.ticks)


@pytest.mark.parametrize(
    ("column", "values", "told"),
    [
        ("last_usd", [-1.0, 1.0], "not finite or below 0"),
        ("band_high_usd", [1.0, None], "not supported"),
        ("bid_usd", [1.0], "different lengths"),
        ("last_ns", [1, "2"], "not supported"),
        ("symbol", ["KO", 1], "expected str"),
        ("colour", [1, 2], "colour, known are symbol"),
    ],
)
def test_a_market_that_cannot_be_right_is_refused_where_it_is_read(column: str, values: list[object], told: str) -> None:
    """Its states are made when somebody asks for one: whoever asks must find nothing wrong any more."""
    batch = replace(_batch(), market=(MarketState(symbol=Symbol("KO"), last_usd=1.0), MarketState(symbol=Symbol("PEP"))))
    document = orjson.loads(codec.encode_forecasts(batch))
    assert codec.decode_forecasts(orjson.dumps(document)) == batch

    document["market"][column] = values
    with pytest.raises(BadRecord, match=told):
        codec.decode_forecasts(orjson.dumps(document))


def test_a_market_of_an_older_writer_lacks_what_it_did_not_know() -> None:
    document = orjson.loads(codec.encode_forecasts(_batch()))
    document["market"] = {"symbol": ["KO", "PEP"], "last_usd": [50.0, 80.0]}

    market = codec.decode_forecasts(orjson.dumps(document)).market

    assert tuple(market) == (MarketState(symbol=Symbol("KO"), last_usd=50.0), MarketState(symbol=Symbol("PEP"), last_usd=80.0))


def test_a_heartbeat_survives_the_round_trip() -> None:
    """All fields, the source as an enum."""
    beat = Heartbeat(sector=SectorId("x"), source=Source.PAPER, replay_id="", watermark_ns=5, lockstep=True, end_of_stream=True)
    assert codec.decode_tick_record(codec.encode_heartbeat(beat)) == beat


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_never_decoded(data: bytes) -> None:
    """Garbage gives BadRecord and nothing else."""
    for decode in (codec.decode_tick_record, codec.decode_forecasts, codec.decode_control):
        with pytest.raises(BadRecord):
            decode(data)


@given(st.data())
def test_a_damaged_frame_is_refused_or_still_holds_only_sound_prices(data: st.DataObject) -> None:
    """One flipped byte never lets a price through that cannot be traded on."""
    encoded = bytearray(codec.encode_frame(_frame()))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        frame = codec.decode_tick_record(bytes(encoded))
    except BadRecord:
        return
    if isinstance(frame, TickFrame):
        assert np.isfinite(frame.ticks["price"]).all()
        assert (frame.ticks["price"] > 0).all()


@pytest.mark.parametrize(
    ("column", "value", "reason"), [("price", np.nan, "price_invalid"), ("price", 0.0, "price_invalid"), ("kind", 9, "kind_unknown")]
)
def test_ticks_that_cannot_be_used_are_refused_with_their_reason(column: str, value: float, reason: str) -> None:
    """The reason is the code under which the record is parked."""
    frame = _frame()
    frame.ticks[column][1] = value
    with pytest.raises(BadRecord) as error:
        codec.decode_tick_record(codec.encode_frame(frame))
    assert error.value.reason == reason


def test_a_truncated_frame_says_how_long_it_should_be() -> None:
    """What was found and what was announced."""
    data = codec.encode_frame(_frame())
    with pytest.raises(BadRecord, match=rf"{len(data) - 1} bytes.*{len(data)}"):
        codec.decode_tick_record(data[:-1])


def test_the_end_of_a_halt_survives_the_round_trip_and_costs_nothing_where_there_was_none() -> None:
    """A record that was written before it could be told says that there was none."""
    calm = (MarketState(symbol=Symbol("AIG"), last_usd=48.0, last_ns=5), MarketState(symbol=Symbol("BAC"), last_usd=14.0, last_ns=6))
    resumed = (calm[0], replace(calm[1], resumed_ns=4))

    for market in (calm, resumed):
        batch = replace(_batch(), market=market)
        data = codec.encode_forecasts(batch)
        assert codec.decode_forecasts(data) == batch
        assert codec.encode_forecasts(replace(batch, market=market_columns(market))) == data
        assert (b"resumed_ns" in data) == (market is resumed)


def test_forecasts_survive_the_round_trip_with_equal_bytes() -> None:
    """Same batch in, same bytes out: decisions are compared byte by byte."""
    batch = _batch()
    data = codec.encode_forecasts(batch)
    assert codec.decode_forecasts(data) == batch
    assert codec.encode_forecasts(codec.decode_forecasts(data)) == data


def test_a_forecast_with_nan_cannot_be_decoded() -> None:
    """orjson writes NaN as null; the record refuses it."""
    with pytest.raises(BadRecord, match="forecast_malformed"):
        codec.decode_forecasts(codec.encode_forecasts(_batch()).replace(b'"variance":1.5e-6', b'"variance":null'))


@pytest.mark.parametrize(
    "record",
    [
        PairSpec(pair=PairId("KO-PEP"), sector=SectorId("c"), leg_a=Symbol("KO"), leg_b=Symbol("PEP"), notional_usd=Decimal("12.50")),
        RoutingPointer(sector=SectorId("c"), version="4", digest="d", epoch=9),
        RoutingPointer(
            sector=SectorId("c"),
            version="4",
            digest="d",
            epoch=10,
            canary=Canary(version="5", digest="e", pairs=(PairId("KO-PEP"),), notional_usd_max=Decimal("5000.50")),
            previous=PinnedVersion(version="3", digest="f"),
            handover=Handover.HOLD,
            reason="canary 1 of 2",
        ),
        RolloutRecord(sector=SectorId("c"), document={"step": "Shadow", "gates": [], "candidate": {"version": "5"}}),
        RolloutRequest(sector=SectorId("c"), request_id="r1", action="start", version="5"),
        TradingState(scope="global", mode=TradingMode.HALTED, reason="drill"),
    ],
    ids=lambda record: type(record).__name__,
)
def test_control_records_survive_the_round_trip(record: ControlRecord) -> None:
    """Money stays Decimal."""
    _, value = codec.encode_control(record)
    assert codec.decode_control(value) == record


@pytest.mark.parametrize(
    "record",
    [
        TradingState(scope="global", mode=TradingMode.HALTED, reason="a\0b"),
        RoutingPointer(sector=SectorId("c"), version="4", digest="d\0", epoch=9),
        RolloutRecord(sector=SectorId("c"), document={"gates": [{"reason": "\0"}]}),
    ],
    ids=lambda record: type(record).__name__,
)
def test_a_text_that_no_database_takes_is_refused_and_not_met_again_at_each_start(record: ControlRecord) -> None:
    """The log keeps the newest record of a key for ever: whoever fails over it would fail again after each restart."""
    _, value = codec.encode_control(record)
    with pytest.raises(BadRecord, match="NUL"):
        codec.decode_control(value)


def test_a_pointer_of_an_older_writer_is_still_read() -> None:
    """Without the fields that came later it has their defaults."""
    old = b'{"schema":1,"kind":"RoutingPointer","sector":"c","version":"4","digest":"d","epoch":3}'
    assert codec.decode_control(old) == RoutingPointer(sector=SectorId("c"), version="4", digest="d", epoch=3)
