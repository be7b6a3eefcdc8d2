"""The walk-forward: what it may see, when its orders fill, and that its money adds up."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from backtest_cases import distance_policy, made_market, task, with_prices
from tandem.adapters.market_file import MarketData
from tandem.domain.errors import BadSetting
from tandem.domain.ids import SectorId
from tandem.flow import accounting
from tandem.flow.barrier import Decidable
from tandem.flow.exchange_records import Rules
from tandem.portfolio.desk import Desk
from tandem.quant.distance import DistanceRule, study
from tandem.research.backtest_records import Played
from tandem.research.backtest_run import run, universe
from tandem.research.backtest_statistics import costs, pairs
from tandem.research.backtest_windows import plan_windows
from tandem.research.policies import Terms
from tandem.trainer.data import training_panel

# A run takes half a second: few examples, and no shrinking.
FEW = settings(max_examples=3, deadline=None, phases=(Phase.generate,), suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> MarketData:
    return made_market(tmp_path_factory.mktemp("market"))


@pytest.fixture(scope="module")
def played(market: MarketData) -> Played:
    return run(task(borrow_bps_year=Decimal(50)), market, distance_policy())


def free(**changes: object) -> Rules:
    """No fees, no spread, exact prices."""
    return Rules(**{"half_spread_bps": Decimal(0), "half_spread_min_usd": Decimal(0), "whole_ticks": False} | changes)


def test_every_order_fills_at_the_next_bar_and_never_at_the_one_that_made_it(market: MarketData, played: Played) -> None:
    closes = np.unique(market.ticks["event_ns"])

    assert len(played.executions) > 20
    for fill in played.executions:
        made_at = int(np.searchsorted(closes, fill.decided_ns))  # the first tick after the bar that decided
        assert fill.event_ns == closes[made_at]
        rows = market.ticks[market.ticks["event_ns"] == fill.event_ns]
        assert float(fill.market_usd) in rows["price"]


@FEW
@given(st.integers(0, 2), st.integers(0, 10_000))
def test_what_is_traded_never_changes_what_was_chosen(market: MarketData, window: int, seed: int) -> None:
    """Every price from a window's first traded bar on is shaken: its pairs and model, and those before, stay as they were."""
    base = run(task(), market, distance_policy())
    border_ns = base.windows[window].plan.train_to_ns
    rows = np.flatnonzero(market.ticks["event_ns"] >= border_ns)
    shaken = with_prices(market, np.exp(0.05 * np.random.default_rng(seed).standard_normal(len(rows))), rows)
    other = run(task(), shaken, distance_policy())

    before = [(w.pairs, w.digest) for w in base.windows[: window + 1]]
    assert [(w.pairs, w.digest) for w in other.windows[: window + 1]] == before
    past = [e for e in base.executions if e.event_ns < border_ns]
    assert [e for e in other.executions if e.event_ns < border_ns] == past


def test_equity_changes_by_the_sum_of_its_parts(played: Played) -> None:
    change = accounting.equity_usd(played.book, played.marks_usd) - played.capital_usd
    found = costs(played)

    assert float(change) == found["net_pnl_usd"]
    whole = Decimal(str(found["market_pnl_usd"])) - sum(Decimal(str(found[n])) for n in ("spread_usd", "fees_usd", "borrow_usd"))
    assert abs(whole - change) < Decimal("0.005")
    assert sum(row["net_pnl_usd"] for row in pairs(played)) == pytest.approx(float(change), abs=0.005)
    assert min(found["spread_usd"], found["fees_usd"], found["borrow_usd"]) > 0
    assert sum(w.equity_end_usd - w.equity_start_usd for w in played.windows) == change
    assert played.points[-1].equity_usd == played.windows[-1].equity_end_usd


@FEW
@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 200))
def test_more_cost_never_earns_more_for_the_same_orders(market: MarketData, low: int, more: int, borrow: int) -> None:
    cheap = run(task(rules=free(half_spread_bps=Decimal(low))), market, distance_policy())
    dear = run(task(rules=free(half_spread_bps=Decimal(low + more)), borrow_bps_year=Decimal(borrow)), market, distance_policy())
    orders = [[(e.symbol, e.side, e.qty, e.decided_ns) for e in p.executions] for p in (cheap, dear)]

    assert orders[0] == orders[1]
    assert dear.points[-1].equity_usd < cheap.points[-1].equity_usd


def test_a_half_spread_in_basis_points_is_what_is_paid(market: MarketData) -> None:
    found = costs(run(task(rules=free(half_spread_bps=Decimal(5))), market, distance_policy()))

    assert found["spread_bps_of_traded"] == pytest.approx(5.0)
    assert found["fees_usd"] == found["borrow_usd"] == 0


def test_borrow_is_the_rate_on_what_is_short_overnight(market: MarketData) -> None:
    """Independent: 365 bps a year is a basis point of the short value for each calendar night, weekends included."""
    found = run(task(rules=free(), borrow_bps_year=Decimal(365)), market, distance_policy())
    owed = 0.0
    for point, after in zip(found.points, found.points[1:], strict=False):
        nights = after.close_ns // 86_400_000_000_000 - point.close_ns // 86_400_000_000_000
        owed += float((point.gross_usd - point.net_usd) / 2) * 1e-4 * nights
    assert float(sum(found.borrow_usd.values())) == pytest.approx(owed, abs=0.01 * len(found.borrow_usd) * 2)


def test_a_night_is_charged_before_the_bar_at_whose_close_it_begins_is_decided(market: MarketData, monkeypatch: pytest.MonkeyPatch) -> None:
    """As live, where the exchange charges at the close and the portfolio decides on it: the same cash is there to decide with."""
    seen: dict[int, Decimal] = {}
    decide = Desk.trade

    def looked(desk: Desk, bar: Decidable, published_ns: int) -> None:
        seen[bar.bar_close_ns] = desk.books.book.total_cash_usd
        decide(desk, bar, published_ns)

    monkeypatch.setattr(Desk, "trade", looked)
    found = run(task(rules=free(), borrow_bps_year=Decimal(5_000)), market, distance_policy())

    assert sum(found.borrow_usd.values()) > 100
    cash = {point.close_ns: point.cash_usd for point in found.points}
    assert {close_ns: cash[close_ns] for close_ns in seen if close_ns in cash} == {n: usd for n, usd in seen.items() if n in cash}


def test_each_window_ends_flat_and_the_same_inputs_play_the_same(market: MarketData, played: Played) -> None:
    last = {point.window: point for point in played.points}

    assert [point.open_pairs for point in last.values()] == [0] * len(played.windows)
    assert run(task(borrow_bps_year=Decimal(50)), market, distance_policy()) == played


def test_a_split_that_prices_are_not_adjusted_for_is_left_out_when_seen_and_named_when_traded(market: MarketData) -> None:
    aaa = market.symbols.index("AAA")
    times = np.unique(market.ticks["event_ns"])
    halved = np.flatnonzero((market.ticks["symbol"] == aaa) & (market.ticks["event_ns"] >= times[150]))
    found = run(task(), with_prices(market, np.array(0.5), halved), distance_policy())

    assert [s.symbol for s in found.windows[0].suspects] == ["AAA"]
    assert [(r.symbol, r.reason) for r in found.windows[1].rejections] == [("AAA", "split_suspected")]
    assert not any("AAA" in pair for pair in found.windows[1].pairs)


def test_windows_lie_side_by_side_and_train_on_the_bars_before_them() -> None:
    close_ns = np.arange(1, 101) * 10
    found = plan_windows(close_ns, train_bars=30, trade_bars=25)

    assert [(w.train_start, w.trade_start, w.trade_stop) for w in found] == [(0, 30, 55), (25, 55, 80), (50, 80, 100)]
    assert all(w.train_to_ns < close_ns[w.trade_start] <= w.trade_to_ns for w in found)
    (late,) = plan_windows(close_ns, train_bars=30, trade_bars=50, from_ns=495, to_ns=700)
    assert (late.trade_start, late.trade_stop) == (49, 70)


@pytest.mark.parametrize(
    "span", [{"train_bars": 99}, {"train_bars": 30, "from_ns": 100}, {"train_bars": 1}, {"train_bars": 30, "to_ns": 310}]
)
def test_a_span_without_a_window_is_a_named_error(span: dict[str, int]) -> None:
    with pytest.raises(BadSetting, match="bars"):
        plan_windows(np.arange(1, 101) * 10, trade_bars=25, **span)


def test_a_universe_without_a_known_symbol_is_a_named_error(market: MarketData) -> None:
    assert universe(market, ("BBB", "ZZZ")).symbols == ("BBB",)
    with pytest.raises(BadSetting, match="holds none of ZZZ"):
        universe(market, ("ZZZ",))


def test_a_window_without_a_pair_trades_nothing_and_says_so(market: MarketData) -> None:
    alone = universe(market, ("AAA",))
    found = run(task(), alone, distance_policy())

    assert found.executions == ()
    assert {w.note for w in found.windows} == {"1 symbols have a price on every bar of the formation period, at least 2 are needed"}
    assert found.points[-1].equity_usd == replace(task()).capital_usd


def test_the_distance_method_earns_through_the_live_code_what_its_study_says(market: MarketData) -> None:
    """Two implementations of one rule. Shares are sized at the decision, the study's at the fill: equal to 0.2 % of a leg."""
    rule = DistanceRule(formation_bars=120, trading_bars=60, step_bars=60, pairs=1, entry_sd=1.0)
    policy = replace(distance_policy(1), rule=rule, terms=Terms(notional_usd=Decimal(1_000_000)))
    played = run(task(capital_usd=Decimal(100_000_000), rules=free()), market, policy)
    event_ns = market.ticks["event_ns"]
    panel, _ = training_panel(market, SectorId("made"), market.symbols, bar="1d", from_ns=int(event_ns[0]), to_ns=int(event_ns[-1]) + 10**9)

    whole = [w for w in played.windows if w.plan.trade_stop - w.plan.trade_start == 60]
    found = [float(w.equity_end_usd - w.equity_start_usd) / 500_000 for w in whole]
    expected = study(panel.close, panel.symbols, rule, delay_bars=1).portfolio_returns
    assert len(whole) == len(expected) == 4
    assert sum(abs(expected) > 0.01) >= 2, "a comparison of nothing proves nothing"
    assert found == pytest.approx(expected.tolist(), abs=0.002)
