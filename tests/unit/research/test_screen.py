"""A screening from file to table: bad symbols go and are named, noise passes at its rate, policies say why, the next span judges."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from recorded_cases import CONFIG, closes, write
from tandem.adapters.calendar import session_grid
from tandem.adapters.market_file import load_market_data
from tandem.adapters.market_sectors import file_sectors
from tandem.domain.errors import BadRecord, BadSetting, Permanent
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.units import ns_of
from tandem.quant.composite import SeedRule
from tandem.quant.engle_granger import engle_granger_many
from tandem.research.screen import ScreenRules, screened
from tandem.research.screen import write as write_table
from tandem.research.screen_policies import FdrRule
from tandem.research.screen_statistics import size_of_the_test
from tandem.research.screen_universe import ScreenRequest, load_universe
from tandem.research.screen_universe import closes as closes_of
from tandem.trainer.data import training_panel

START = datetime(2015, 1, 2, tzinfo=UTC)
GRID = session_grid("1d", ns_of(START), ns_of(datetime(2020, 1, 2, tzinfo=UTC)))
DAYS = [datetime.fromtimestamp(int(ns) // 1_000_000_000, UTC).date() for ns in GRID.open_ns]


def rules(policy: str = "fdr") -> ScreenRules:
    fdr = FdrRule(false_discovery_rate=0.05, half_life_min_bars=1.0, half_life_max_bars=250.0)
    return ScreenRules(policy=policy, bars_min=250, lags_max=None, fdr=fdr, seed=SeedRule(correlation_min=0.5))


def quiet(_what: str, _done: int, _whole: int) -> None:
    """No progress bar."""


def request(path: Path, **changes: object) -> ScreenRequest:
    values = {
        "data": path,
        "sector": None,
        "sector_symbols": (),
        "bar": "1d",
        "from_ns": None,
        "to_ns": None,
        "persist_bars": None,
        "bars_min": 250,
    }
    return ScreenRequest(**values | changes)  # type: ignore[arg-type]


def walks(symbols: int, bars: int, *, seed: int = 1) -> dict[str, np.ndarray]:
    steps = 0.01 * np.random.default_rng(seed).standard_normal((symbols, bars))
    return {f"S{chr(65 + i // 26)}{chr(65 + i % 26)}": 50 * np.exp(np.cumsum(row)) for i, row in enumerate(steps)}


def with_planted(prices: dict[str, np.ndarray], *, seed: int = 2) -> dict[str, np.ndarray]:
    """And PLA, which follows SAA with a spread that reverts in a week."""
    rng, spread = np.random.default_rng(seed), np.zeros(len(prices["SAA"]))
    for t in range(1, len(spread)):
        spread[t] = 0.9 * spread[t - 1] + 0.004 * rng.standard_normal()
    return prices | {"PLA": 0.5 * prices["SAA"] * np.exp(spread)}


def day_ns(place: int) -> int:
    """Before the session of that day."""
    return int(GRID.open_ns[place])


def test_a_planted_pair_is_chosen_and_persists_and_the_reasons_of_the_others_are_given(tmp_path):
    path = closes(tmp_path / "c.parquet", DAYS[:1000], **with_planted(walks(8, 1000)))

    table, document = screened(request(path, to_ns=day_ns(600)), rules(), quiet)

    assert [found["pair"] for found in document["chosen"]] in (["PLA-SAA"], ["SAA-PLA"])
    assert document["chosen"][0]["next_p"] < 0.05
    assert (document["bars"], document["next"]["bars"], document["tests"]) == (600, 400, 72)
    fdr = document["policies"]["fdr"]
    assert (fdr["picks"], fdr["measured"], fdr["persist"], fdr["persist_frozen_share"]) == (1, 1, 1, 1.0)
    assert document["policies"]["all tested (base rate)"]["measured"] == 36
    reasons = table.columns["fdr_reason"].tolist()
    assert reasons.count("q_value") == 35
    assert set(table.columns["seed_reason"].tolist()) <= {"", "correlation", "p_value", "composite"}
    planted = reasons.index("")
    assert table.columns["beta_tls_ab"][planted] == pytest.approx(1.0, abs=0.1)
    assert np.isfinite(table.columns["kalman_beta"][planted])
    assert table.columns["composite"][planted] > 0


def test_pure_noise_passes_at_its_rate_and_not_under_false_discovery_control(tmp_path):
    path = closes(tmp_path / "c.parquet", DAYS[:300], **walks(30, 300, seed=5))
    table, document = screened(request(path), rules(), quiet)
    assert document["tests"] == 870
    assert document["below_5pct"] == pytest.approx(document["below_5pct_of_random_walks"], rel=0.8)
    assert document["policies"]["fdr"]["picks"] <= 1
    assert document["next"] is None
    assert "next_p" not in table.columns
    assert size_of_the_test(300, lags_max=0) == pytest.approx(0.05, abs=0.015)


def test_every_kind_of_bad_symbol_is_named_and_the_others_go_on(tmp_path):
    prices = walks(10, 400)
    names = list(prices)
    nan, zero, negative, constant, stale, split = (prices[name] for name in names[:6])
    nan[5], zero[5], negative[5] = np.nan, 0.0, -3.0
    constant[:] = 5.0
    stale[100:130] = stale[100]
    split[200:] /= 2
    rows = [(name, day, price) for name, series in prices.items() for day, price in zip(DAYS[:400], series, strict=True)]
    rows = [row for row in rows if row[0] != names[6] or row[1] < DAYS[100]]
    rows += [("TWO", DAYS[3], 5.0), ("TWO", DAYS[3], 6.0), ("BCK", DAYS[4], 5.0), ("BCK", DAYS[3], 5.0), ("INF", DAYS[3], float("inf"))]
    symbols, days, close = zip(*rows, strict=True)
    path = write(tmp_path / "c.parquet", symbol=list(symbols), date=list(days), close=list(close))

    _, document = screened(request(path), rules(), quiet)

    assert {r["symbol"]: r["reason"] for r in document["rejected"]} == {
        names[0]: "not_finite",
        names[1]: "not_positive",
        names[2]: "not_positive",
        names[3]: "constant_series",
        names[4]: "stale",
        names[5]: "split_suspected",
        names[6]: "too_few_bars",
        "TWO": "duplicate_time",
        "BCK": "unsorted_time",
        "INF": "not_finite",
    }
    assert (document["symbols"], document["pairs"]) == (3, 3)


def test_the_choice_does_not_depend_on_what_comes_after(tmp_path):
    """A split in the next span leaves the first untouched; the pair is only not measured there."""
    prices = with_planted(walks(5, 900))
    calm, _ = screened(request(closes(tmp_path / "a.parquet", DAYS[:900], **prices), to_ns=day_ns(500)), rules(), quiet)
    prices["PLA"][700:] /= 2
    broken, document = screened(request(closes(tmp_path / "b.parquet", DAYS[:900], **prices), to_ns=day_ns(500)), rules(), quiet)
    for name in ("eg_p_ab", "eg_q_ba", "composite", "kalman_beta"):
        assert np.array_equal(calm.columns[name], broken.columns[name], equal_nan=True)
    assert [r["symbol"] for r in document["next"]["rejected"]] == ["PLA"]
    assert document["policies"]["fdr"] | {"persist_share": None} == document["policies"]["fdr"]


def test_each_gate_of_the_policy_gives_its_reason(tmp_path):
    """A jump in the first days, a mirrored leg, and a spread that reverts too slowly for the rule."""
    prices = with_planted(walks(12, 600, seed=3))
    prices["MIR"] = 2500 / prices.pop("PLA")
    prices["SAB"][:6] *= 0.7
    path = closes(tmp_path / "c.parquet", DAYS[:600], **prices)
    strict = replace(rules(), fdr=replace(rules().fdr, half_life_max_bars=1.5))
    table, _ = screened(request(path), rules(), quiet)
    reasons = dict(zip(zip(table.columns["leg_a"], table.columns["leg_b"], strict=True), table.columns["fdr_reason"], strict=True))
    assert reasons["MIR", "SAA"] == "hedge_ratio"
    edges = [pair for pair, reason in reasons.items() if reason == "edge"]
    assert edges
    assert all("SAB" in pair for pair in edges)
    slow, _ = screened(request(closes(tmp_path / "s.parquet", DAYS[:600], **with_planted(walks(4, 600)))), strict, quiet)
    assert "half_life" in slow.columns["fdr_reason"].tolist()


def test_legs_that_are_one_series_are_not_tested(tmp_path):
    prices = walks(3, 300)
    prices["TWIN"] = 2 * prices["SAA"]
    table, document = screened(request(closes(tmp_path / "c.parquet", DAYS[:300], **prices)), rules("none"), quiet)
    assert document["pairs_untested"] == {"collinear": 1}
    assert document["tests"] == 10
    assert document["chosen"] == []
    assert set(table.columns["chosen_reason"].tolist()) == {"policy_none"}


def test_a_sector_is_that_of_the_file_or_of_the_configuration(tmp_path):
    prices = walks(4, 300)
    rows = [(name, day, price) for name, series in prices.items() for day, price in zip(DAYS[:300], series, strict=True)]
    symbols, days, close = zip(*rows, strict=True)
    columns = {"symbol": list(symbols), "date": list(days), "close": list(close)}
    sectors = ["Big Oil" if name in ("SAA", "SAB", "SAC") else "Other" for name in symbols]
    own, plain = write(tmp_path / "own.parquet", sector=sectors, **columns), write(tmp_path / "plain.parquet", **columns)

    assert load_universe(request(own, sector=SectorId("big-oil"))).symbols == ("SAA", "SAB", "SAC")
    assert load_universe(request(plain, sector=SectorId("mine"), sector_symbols=(Symbol("SAD"), Symbol("SAA")))).symbols == ("SAA", "SAD")
    with pytest.raises(BadSetting, match="the file's sectors: big-oil, other"):
        load_universe(request(own, sector=SectorId("mine")))
    with pytest.raises(Permanent, match="holds 1 of its symbols"):
        load_universe(request(plain, sector=SectorId("mine"), sector_symbols=(Symbol("SAD"), Symbol("XXX"))))
    with pytest.raises(BadRecord, match="SAA has two sectors"):
        file_sectors(write(tmp_path / "two.parquet", symbol=["SAA", "SAA"], sector=["A", "B"]))


def test_too_little_is_refused_with_what_was_left_out(tmp_path):
    prices = walks(2, 300)
    prices["SAB"][:] = 7.0
    with pytest.raises(Permanent, match=r"1 symbols are fit.*SAB: constant_series"):
        load_universe(request(closes(tmp_path / "c.parquet", DAYS[:300], **prices)))


def test_the_table_of_a_daily_file_is_that_of_the_bars_that_are_trained_on(tmp_path):
    prices = walks(3, 120)
    path = closes(tmp_path / "c.parquet", DAYS[:120], **prices)
    data = load_market_data(path)
    _, close_ns, close = closes_of(data, data.symbols, bar="1d")
    span = {"from_ns": int(data.ticks["event_ns"][0]), "to_ns": int(data.ticks["event_ns"][-1]) + 1_000_000_000}
    panel, _ = training_panel(data, SectorId("x"), data.symbols, bar="1d", **span)
    assert np.array_equal(close_ns, panel.close_ns)
    assert np.array_equal(close, panel.close)
    with pytest.raises(BadSetting, match="holds bars of 1d, which are longer"):
        closes_of(data, data.symbols, bar="5min")


def test_the_file_holds_every_pair_with_nulls_for_what_was_not_computed(tmp_path):
    path = closes(tmp_path / "c.parquet", DAYS[:700], **with_planted(walks(4, 700)))
    table, document = screened(request(path, to_ns=day_ns(400)), rules(), quiet)
    write_table(tmp_path / "out" / "s.parquet", table, document)
    written = pq.read_table(tmp_path / "out" / "s.parquet")
    rows = {(row["leg_a"], row["leg_b"]): row for row in written.to_pylist()}
    assert len(rows) == 10
    assert rows["PLA", "SAA"]["chosen"]
    assert rows["SAB", "SAC"]["composite"] is None
    assert written.schema.metadata[b"data_digest"].decode() == document["data_digest"]
    page = (CONFIG.parent / "docs" / "screening.md").read_text()
    assert [name for name in written.column_names if f"`{name}`" not in page and f"`{name[:-2]}*`" not in page] == []
    close = np.log(np.column_stack([with_planted(walks(4, 700))[name][:400] for name in ("PLA", "SAA")]))
    assert rows["PLA", "SAA"]["eg_p_ab"] == pytest.approx(engle_granger_many(close, np.array([[0, 1]])).p_value[0, 0], abs=1e-9)
