"""Shards: everybody agrees, nothing is left out, nobody has too much, and little moves when a replica goes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.adapters.codec import encode_forecasts
from tandem.domain.forecasts import SHARDS, Forecast, ForecastBatch, MarketState, ModelRef
from tandem.domain.ids import SectorId, Symbol, pair_id
from tandem.domain.market import Source
from tandem.flow.shards import PAIRS_PER_BATCH, placed, shard_of_pairs, shards_needed, shards_of

_NAMES = st.lists(st.text("abcdefgh0123456789-", min_size=1, max_size=8), min_size=1, max_size=40, unique=True)
_HOLDERS = st.lists(st.text("xyz-0123456789", min_size=1, max_size=6), min_size=1, max_size=9, unique=True)


@given(_NAMES, _HOLDERS, st.randoms())
def test_every_item_has_one_holder_whoever_asks(items, holders, random):
    """All are placed, none of the holders has more than its share rounded up, and the order of the names does not matter."""
    found = placed(items, holders)
    assert set(found) == set(items)
    assert max([*found.values()].count(holder) for holder in holders) <= -(-len(items) // len(holders))
    random.shuffle(items)
    random.shuffle(holders)
    assert placed(items, holders) == found


@pytest.mark.parametrize("members", [1, 2, 3, 4, 6, 12])
def test_replicas_share_the_shards_evenly_and_completely(members):
    names = [f"forecaster-{i}" for i in range(members)]
    parts = [shards_of(name, names, SHARDS) for name in names]
    assert {len(part) for part in parts} == {SHARDS // members}
    assert frozenset().union(*parts) == frozenset(range(SHARDS))


def test_a_replica_that_is_not_known_to_live_has_no_shard():
    assert shards_of("gone", ["a", "b"], SHARDS) == frozenset()


@pytest.mark.parametrize("gone", ["a", "b", "c"])
def test_of_three_replicas_most_shards_of_two_stay_when_the_third_goes(gone):
    """What must move are the 4 of the one that went; the bounded load may move a few more."""
    before = {name: shards_of(name, ["a", "b", "c"], SHARDS) for name in "abc"}
    left = sorted({"a", "b", "c"} - {gone})
    moved = sum(len(before[name] - shards_of(name, left, SHARDS)) for name in left)
    assert moved <= 2


def test_pairs_are_dealt_evenly():
    pairs = [f"A{i}-B{i}" for i in range(100)]
    dealt = shard_of_pairs(pairs, SHARDS)
    assert max(dealt.count(shard) for shard in range(SHARDS)) == 9
    assert shard_of_pairs(pairs, 1) == (0,) * 100


@pytest.mark.parametrize(
    ("pairs", "wanted", "shards"), [(1, 1, 1), (1_000, 1, 1), (1_001, 1, 2), (5_000, 1, 5), (5_000, 12, 12), (3, 12, 12)]
)
def test_large_bundles_have_shards_even_with_one_replica(pairs, wanted, shards):
    assert shards_needed(pairs, wanted) == shards


def test_a_batch_of_as_many_pairs_as_it_may_have_fits_into_a_record():
    """With numbers of the most digits, and two symbols of each pair with quotes and bands."""
    number, ns = 1234.5678901234567, 1_700_000_000_123_456_789
    pairs = [(Symbol(f"AB{i:04d}"), Symbol(f"CD{i:04d}")) for i in range(PAIRS_PER_BATCH)]
    numbers = dict.fromkeys(("price_a", "price_b", "beta", "mu", "spread", "expected_spread", "z", "half_life_bars"), number)
    numbers |= dict.fromkeys(("variance", "garch_variance", "reversion_probability"), 0.00012345678901234567)
    market = dict.fromkeys(("last_usd", "bid_usd", "ask_usd", "band_low_usd", "band_high_usd"), 1234.56) | {"last_ns": ns, "quote_ns": ns}
    batch = ForecastBatch(
        sector=SectorId("technology"),
        model=ModelRef(name="pairs_trading_gru_garch_technology_v1", version="123", digest="d" * 64),
        source=Source.RECYCLED,
        replay_id="r" * 32,
        bar_close_ns=ns,
        lockstep=True,
        end_of_stream=False,
        forecasts=tuple(Forecast(pair=pair_id(a, b), leg_a=a, leg_b=b, bar_index=10_000, **numbers) for a, b in pairs),
        market=tuple(MarketState(symbol=symbol, **market) for pair in pairs for symbol in pair),
    )
    assert len(encode_forecasts(batch)) < 1_000_000
