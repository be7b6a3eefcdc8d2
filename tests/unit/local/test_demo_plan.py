"""How a demo splits a file in time and into sectors."""

from pathlib import Path

import numpy as np
import pytest

from tandem.adapters.config_files import Sectors
from tandem.adapters.market_file import MarketData
from tandem.domain.control import PairSpec
from tandem.domain.errors import BadSetting
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.market import KIND_TRADE, TICK_DTYPE
from tandem.domain.units import rfc3339
from tandem.local.demo_plan import Spans, bar_of, moment_ns, sectors_of, spans_of

SECTORS = Sectors(
    sectors={SectorId("consumer"): (Symbol("KO"), Symbol("PEP")), SectorId("energy"): (Symbol("XOM"),)},
    active=(SectorId("consumer"), SectorId("energy")),
    presets={},
    preset="all",
)
KO_PEP = PairSpec(pair=PairId("KO-PEP"), sector=SectorId("consumer"), leg_a=Symbol("KO"), leg_b=Symbol("PEP"))


def _data(days: list[str], symbols: tuple[str, ...] = ("KO", "PEP"), bar: str | None = "1d") -> MarketData:
    """One tick per day and symbol at 15:59 New York, winter time."""
    times = [moment_ns(f"{day}T15:59:00-05:00") for day in days]
    ticks = np.zeros(len(times) * len(symbols), TICK_DTYPE)
    ticks["event_ns"] = np.repeat(times, len(symbols))
    ticks["symbol"] = np.tile(np.arange(len(symbols)), len(times))
    ticks["price"], ticks["kind"] = 50.0, KIND_TRADE
    return MarketData(path=Path("f.parquet"), digest="d", symbols=tuple(map(Symbol, symbols)), ticks=ticks, bar=bar, bars=None)


def test_without_dates_the_first_sessions_train_and_no_session_is_cut() -> None:
    """Five sessions: three to train on; the border is midnight in New York before the fourth."""
    spans = spans_of(
        _data(["2020-01-06", "2020-01-07", "2020-01-08", "2020-01-09", "2020-01-10"]),
        "1d",
        train_from=None,
        replay_from=None,
        replay_to=None,
    )
    assert rfc3339(spans.train_to_ns) == "2020-01-09T05:00:00.000000000Z"
    assert spans.replay_from_ns == spans.train_to_ns


def test_weekends_and_holidays_are_no_sessions() -> None:
    """Friday, then Tuesday after Martin Luther King day: two sessions, one each."""
    spans = spans_of(_data(["2020-01-17", "2020-01-21"]), "1d", train_from=None, replay_from=None, replay_to=None)
    assert rfc3339(spans.train_to_ns) == "2020-01-21T05:00:00.000000000Z"


def test_one_session_is_not_enough() -> None:
    """There would be nothing to train on, or nothing to replay."""
    with pytest.raises(BadSetting, match="1 session"):
        spans_of(_data(["2020-01-06"]), "1d", train_from=None, replay_from=None, replay_to=None)


def test_training_never_reaches_into_the_replay() -> None:
    """The order of the spans is held by the record itself."""
    with pytest.raises(BadSetting, match="before the replay"):
        Spans(train_from_ns=0, train_to_ns=11, replay_from_ns=10, replay_to_ns=20)


def test_a_date_is_midnight_in_new_york() -> None:
    """Also across the change of the clocks."""
    assert rfc3339(moment_ns("2020-07-01")) == "2020-07-01T04:00:00.000000000Z"
    assert rfc3339(moment_ns("2020-12-01")) == "2020-12-01T05:00:00.000000000Z"


@pytest.mark.parametrize("text", ["yesterday", "2020-01-01T10:00:00", "2020-13-01"])
def test_a_time_that_is_unclear_is_refused(text: str) -> None:
    """Words, times without a zone, months that are none."""
    with pytest.raises(BadSetting, match=r"expected YYYY|no zone"):
        moment_ns(text)


@pytest.mark.parametrize(("native", "bar"), [("1d", "1d"), ("5min", "5min"), (None, "1min"), ("1s", "1min"), ("1h", "1d")])
def test_the_bar_suits_the_file(native: str | None, bar: str) -> None:
    """Trades and seconds make minutes; hours make days."""
    assert bar_of(_data(["2020-01-06"], bar=native)) == bar


def test_a_sector_needs_two_symbols_of_the_file() -> None:
    """Energy has only one here."""
    (plan,) = sectors_of(_data(["2020-01-06"], ("KO", "PEP", "XOM")), SECTORS, [KO_PEP], [])
    assert (plan.sector, plan.symbols, plan.declared) == ("consumer", ("KO", "PEP"), (KO_PEP,))


def test_a_declared_pair_whose_leg_is_missing_is_left_out() -> None:
    """KO-PEP cannot be traded on a file without PEP."""
    plans = sectors_of(_data(["2020-01-06"], ("KO", "XOM")), SECTORS, [KO_PEP], ["KO-XOM"])
    assert [(plan.sector, [spec.pair for spec in plan.declared]) for plan in plans] == [("other", ["KO-XOM"])]


def test_a_file_of_unknown_symbols_says_what_to_do() -> None:
    """The message names the two ways on."""
    with pytest.raises(BadSetting, match=r"AAA, BBB.*tandem symbols add.*--pair"):
        sectors_of(_data(["2020-01-06"], ("AAA", "BBB")), SECTORS, [KO_PEP], [])


def test_a_pair_that_the_file_does_not_hold_is_refused() -> None:
    """The message names what is missing and what is there."""
    with pytest.raises(BadSetting, match=r"does not hold QQQ; it holds KO, PEP"):
        sectors_of(_data(["2020-01-06"]), SECTORS, [], ["KO-QQQ"])
