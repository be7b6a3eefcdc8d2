"""Atheris on the decoders of Kafka records: `PYTHONPATH=tests python -m fuzz.codec CORPUS_FOLDER -runs=100000`

The first byte chooses the decoder. Whatever the bytes, a decoder returns a record or raises BadRecord; what it returns must encode again,
and a frame's rows go through the bars and the view of the market, as they would in a forecaster.
"""

from dataclasses import replace

import atheris

from fuzz.corpus import fuzz

with atheris.instrument_imports(include=["tandem.adapters.codec", "tandem.domain.market", "tandem.flow"]):
    import numpy as np

    from tandem.adapters.codec import (
        decode_control,
        decode_forecasts,
        decode_tick_record,
        encode_control,
        encode_forecasts,
        encode_frame,
        encode_heartbeat,
    )
    from tandem.domain.control import TradingState
    from tandem.domain.errors import BadRecord
    from tandem.domain.forecasts import Forecast, ForecastBatch, MarketState, ModelRef
    from tandem.domain.ids import PairId, SectorId, Symbol
    from tandem.domain.market import KIND_TRADE, KINDS, TICK_DTYPE, Heartbeat, SessionGrid, Source, TickFrame
    from tandem.domain.trading import TradingMode
    from tandem.flow.bars import initial_bars, step
    from tandem.flow.market_view import initial_view, see, told

_GRID = SessionGrid(open_ns=np.array([-(2**61)]), close_ns=np.array([2**61]), bar_ns=2**60)


def one_input(data: bytes) -> None:
    """Decode, and use what came out. Anything raised but BadRecord is a finding."""
    body = data[1:]
    try:
        match data[:1]:
            case b"F":
                batch = decode_forecasts(body)
                assert decode_forecasts(encode_forecasts(batch)) == batch
            case b"C":
                decode_control(body)
            case _:
                _ticks(decode_tick_record(body))
    except BadRecord:
        return


def _ticks(event: TickFrame | Heartbeat) -> None:
    if isinstance(event, Heartbeat):
        assert decode_tick_record(encode_heartbeat(event)) == event
        return
    encode_frame(event)
    within = (event.ticks["event_ns"] > -(2**60)) & (
        event.ticks["event_ns"] < 2**60
    )  # other times end the service: its grid does not hold them
    frame = replace(event, ticks=event.ticks[within])
    state, _ = step(initial_bars(_GRID), frame)
    step(state, frame)
    told(see(initial_view(event.symbols), frame), whole=True)


def seeds() -> dict[str, bytes]:
    """A record of each kind, from which the fuzzer begins."""
    ticks = np.zeros(12, TICK_DTYPE)
    ticks["event_ns"], ticks["price"], ticks["size"] = np.arange(12) + 1, 14.25, 100
    ticks["kind"], ticks["symbol"], ticks["trade_id"] = [*sorted(KINDS), *[KIND_TRADE] * 4], np.arange(12) % 2, np.arange(12) // 2
    stream = {"sector": SectorId("energy"), "source": Source.RECYCLED, "replay_id": "r"}
    frame = TickFrame(**stream, symbols=(Symbol("CVX"), Symbol("XOM")), ticks=ticks)
    beat = Heartbeat(**stream, watermark_ns=10, lockstep=True)
    numbers = dict.fromkeys(("price_a", "price_b", "variance", "garch_variance", "half_life_bars"), 1.5)
    numbers |= dict.fromkeys(("beta", "mu", "spread", "expected_spread", "z", "reversion_probability"), 0.5)
    forecast = Forecast(pair=PairId("CVX-XOM"), leg_a=Symbol("CVX"), leg_b=Symbol("XOM"), bar_index=3, **numbers)
    batch = ForecastBatch(
        **stream,
        model=ModelRef(name="m", version="1", digest="d"),
        bar_close_ns=10,
        lockstep=True,
        end_of_stream=False,
        forecasts=(forecast,),
        market=(MarketState(symbol=Symbol("CVX"), last_usd=1.5, last_ns=3),),
    )
    state = TradingState(scope="global", mode=TradingMode.HALTED, reason="test")
    return {
        "frame": b"T" + encode_frame(frame),
        "heartbeat": b"T" + encode_heartbeat(beat),
        "forecasts": b"F" + encode_forecasts(batch),
        "control": b"C" + encode_control(state)[1],
    }


if __name__ == "__main__":
    fuzz(one_input, seeds())
