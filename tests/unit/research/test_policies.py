"""Policies see their window only, count what they looked at, and trade through the trainer's models."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from backtest_cases import made_market, task, with_prices
from model_cases import tiny_options
from tandem.adapters.calendar import session_grid
from tandem.adapters.market_file import MarketData
from tandem.domain.control import PairSpec
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.research.backtest_run import run
from tandem.research.policies import Terms, WindowData, declared_policy, fdr_policy, scored_elsewhere, seed_policy
from tandem.trainer.data import training_panel
from tandem.trainer.options import TrainingOptions

PAIR = PairSpec(
    pair=PairId("AAA-BBB"), sector=SectorId("made"), leg_a=Symbol("AAA"), leg_b=Symbol("BBB"), entry_z=1.0, exit_z=0.2, probability_min=0.9
)


def options() -> TrainingOptions:
    """No network, short windows."""
    return scored_elsewhere(tiny_options(), epochs_max=0).model_copy(update={"bars_min": 100})


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> MarketData:
    return made_market(tmp_path_factory.mktemp("market"), bars=620, seed=2, phi=0.8)


def window(market: MarketData, bars: int = 500) -> WindowData:
    """The first bars of the market."""
    event_ns = market.ticks["event_ns"]
    panel, slots = training_panel(
        market, SectorId("made"), market.symbols, bar="1d", from_ns=int(event_ns[0]), to_ns=int(event_ns[-1]) + 10**9
    )
    grid = session_grid("1d", int(event_ns[0]), int(event_ns[-1]))
    return WindowData(
        number=1, sector=SectorId("made"), bar="1d", slots=slots, panel=panel.before(bars), grid=grid, data_digest=market.digest
    )


def test_declared_pairs_trade_on_their_terms_and_others_not_at_all(market: MarketData) -> None:
    terms = Terms(notional_usd=Decimal(5_000), probability_min=0.0)
    found = declared_policy((PAIR,), options(), terms).prepare(window(market))

    spec = found.specs[PAIR.pair]
    assert list(found.specs) == [PAIR.pair]
    assert (spec.entry_z, spec.notional_usd, spec.probability_min) == (1.0, Decimal(5_000), 0.0)
    assert found.digest


def test_a_trained_model_trades_through_the_live_code(market: MarketData) -> None:
    policy = declared_policy((PAIR,), options(), Terms(probability_min=0.0))
    played = run(task(train_bars=500, trade_bars=120), market, policy)

    assert [w.pairs for w in played.windows] == [(PAIR.pair,)]
    assert len(played.executions) >= 4
    assert {trade.model.digest for trade in played.trades} == {played.windows[0].digest}
    rows = np.flatnonzero(market.ticks["event_ns"] >= played.windows[0].plan.train_to_ns)
    shaken = with_prices(market, np.exp(0.05 * np.random.default_rng(1).standard_normal(len(rows))), rows)
    again = run(task(train_bars=500, trade_bars=120), shaken, policy)
    assert again.windows[0].digest == played.windows[0].digest, "the model saw prices that it was going to trade"


def test_screening_counts_every_test_and_finds_the_pair_that_is_one(market: MarketData) -> None:
    found = fdr_policy(options(), Terms()).prepare(window(market))

    assert found.tested == 10, "5 symbols, 10 pairs"
    assert {PairId("AAA-BBB"), PairId("BBB-AAA")} & found.specs.keys()


def test_screening_of_walks_trades_nothing_and_says_so(tmp_path: Path) -> None:
    """Multiple testing: at 5 % a test some of 10 pairs of walks often pass; under control of false discoveries none does."""
    data = made_market(tmp_path, bars=520, seed=3, walks=4)
    found = fdr_policy(options(), Terms())
    panel = window(data, bars=520)
    alone = [i for i, name in enumerate(panel.panel.symbols) if name != "AAA"]
    walks = replace(panel.panel, symbols=tuple(panel.panel.symbols[i] for i in alone), close=panel.panel.close[:, alone])
    prepared = found.prepare(replace(panel, panel=walks))

    assert prepared.specs == {}
    assert prepared.tested == 10
    assert "none passed screening" in prepared.note


def test_the_old_gates_are_a_policy_that_counts_what_it_looked_at(market: MarketData) -> None:
    found = seed_policy(options().model_copy(update={"bars_min": 250}), Terms()).prepare(window(market))

    assert found.tested == 10
    assert set(found.specs) <= {PairId("AAA-BBB"), PairId("BBB-AAA")}


def test_a_declared_pair_without_data_is_rejected_by_name(market: MarketData) -> None:
    missing = replace(PAIR, pair=PairId("AAA-ZZZ"), leg_b=Symbol("ZZZ"))
    found = declared_policy((PAIR, missing), options(), Terms()).prepare(window(market))

    assert list(found.specs) == [PAIR.pair]
    assert "AAA-ZZZ: no_data" in found.note
    assert np.isfinite(window(market).panel.close).all()
