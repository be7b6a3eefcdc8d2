"""The morning's facts over a real socket with Alpaca's answers: borrow lists, volumes, corporate actions, and what cannot be read."""

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from json_server import World, json_server
from tandem.adapters.alpaca_facts import AlpacaFacts
from tandem.adapters.alpaca_history import MarketHistory
from tandem.domain.corporate import ActionKind
from tandem.domain.errors import Permanent, Transient
from tandem.domain.ids import Symbol
from tandem.domain.units import ns_of_rfc3339

KO, PEP, BRK = Symbol("KO"), Symbol("PEP"), Symbol("BRK.B")
AT_NS = ns_of_rfc3339("2024-06-10T13:30:00Z")
ASSET = {"class": "us_equity", "status": "active", "tradable": True, "shortable": True}
# Fields as the reference of the corporate-actions endpoint words them.
ACTIONS = {
    "forward_splits": [
        {
            "id": "f1",
            "symbol": "KO",
            "cusip": "191216100",
            "new_rate": 4,
            "old_rate": 1,
            "process_date": "2024-06-10",
            "ex_date": "2024-06-10",
        }
    ],
    "reverse_splits": [
        {
            "id": "r1",
            "symbol": "PEP",
            "old_cusip": "1",
            "new_cusip": "2",
            "new_rate": 1,
            "old_rate": 8,
            "process_date": "2024-06-07",
            "ex_date": "2024-06-07",
        }
    ],
    "stock_dividends": [{"symbol": "PEP", "cusip": "1", "rate": 0.05, "process_date": "2024-06-11", "ex_date": "2024-06-11"}],
    "cash_dividends": [
        {
            "id": "c1",
            "symbol": "KO",
            "rate": 0.485,
            "special": False,
            "foreign": False,
            "process_date": "2024-07-01",
            "ex_date": "2024-06-14",
        }
    ],
    "name_changes": [
        {"id": "n1", "old_symbol": "BRK.B", "old_cusip": "1", "new_symbol": "BRKB", "new_cusip": "2", "process_date": "2024-06-12"}
    ],
    "cash_mergers": [
        {
            "id": "m1",
            "acquiree_symbol": "PEP",
            "acquiree_cusip": "1",
            "rate": 200,
            "process_date": "2024-06-13",
            "effective_date": "2024-06-12",
        }
    ],
}


@pytest.fixture
def place() -> Iterator[tuple[World, str]]:
    """A server and its address."""
    listed = [{**ASSET, "symbol": "KO", "borrow_status": "easy_to_borrow"}, {**ASSET, "symbol": "PEP", "easy_to_borrow": True}]
    answers = {
        "/v2/assets": (200, listed),
        "/v1/corporate-actions": (200, {"corporate_actions": ACTIONS, "next_page_token": None}),
        "/v2/stocks/bars": (200, {"bars": {}, "next_page_token": None}),
    }
    with json_server(answers) as made:
        yield made


@pytest.fixture
def facts(place: tuple[World, str]) -> Iterator[AlpacaFacts]:
    _, url = place
    history = MarketHistory(key_id="k", secret_key="s", feed="sip", url=url)
    made = AlpacaFacts(key_id="k", secret_key="s", url=url, data_url=url, history=history)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("changes", "may"),
    [
        ({"borrow_status": "easy_to_borrow"}, (True, True, True)),
        ({"easy_to_borrow": True}, (True, True, True)),
        ({"borrow_status": "hard_to_borrow", "easy_to_borrow": True}, (True, True, False)),
        ({"borrow_status": "not_borrowable", "shortable": False}, (True, False, False)),
        ({"borrow_status": "something_new"}, (True, True, False)),
        ({}, (True, True, False)),
        ({"borrow_status": "easy_to_borrow", "tradable": False}, (False, True, True)),
        ({"borrow_status": "easy_to_borrow", "status": "inactive"}, (False, True, True)),
    ],
)
def test_what_may_be_traded_and_borrowed(
    place: tuple[World, str], facts: AlpacaFacts, changes: dict[str, Any], may: tuple[bool, ...]
) -> None:
    """Either borrow field counts, the newer one first; what neither says is not easy to borrow."""
    place[0].answers["/v2/assets"] = (200, [{**ASSET, "symbol": "KO", "a_new_field": 1, **changes}])
    (found,) = facts.assets([KO], AT_NS)

    assert (found.tradable, found.shortable, found.easy_to_borrow) == may


def test_a_symbol_that_is_not_listed_is_not_tradable(facts: AlpacaFacts) -> None:
    ko, brk = facts.assets([KO, BRK], AT_NS)

    assert ko.tradable
    assert not brk.tradable


def test_volumes_and_betas_are_of_the_days_before(place: tuple[World, str], facts: AlpacaFacts) -> None:
    random = np.random.default_rng(1)
    days = [f"2024-{3 + n // 28:02d}-{1 + n % 28:02d}T04:00:00Z" for n in range(60)]
    market = np.cumsum(0.01 * random.standard_normal(60))
    closes = {"SPY": 500 * np.exp(market), "KO": 60 * np.exp(0.6 * market), "PEP": 170 * np.exp(-market)}
    bars = {
        name: [{"t": day, "c": float(c), "v": 1000 * n} for n, (day, c) in enumerate(zip(days, path, strict=True))]
        for name, path in closes.items()
    }
    place[0].answers["/v2/stocks/bars"] = (200, {"bars": bars, "next_page_token": None})
    ko, pep = facts.assets([KO, PEP], AT_NS)

    assert ko.adv_shares == 1000 * np.mean(range(40, 60))
    assert (ko.market_beta, pep.market_beta) == (pytest.approx(0.6), pytest.approx(-1.0))
    path, query = place[0].asked[-1]
    assert path == "/v2/stocks/bars"
    assert query["end"][0] < "2024-06-10"  # today's bar is not over
    assert math.isfinite(ko.market_beta)


def test_corporate_actions_of_each_kind(facts: AlpacaFacts, place: tuple[World, str]) -> None:
    found = facts.actions([KO, PEP, BRK], "2024-06-01", "2024-06-20")

    told = [(a.symbol, a.kind, a.ex_day, a.ratio, a.amount_usd, a.new_symbol) for a in found]
    one, none = Decimal(1), Decimal(0)
    assert told == [
        (PEP, ActionKind.SPLIT, "2024-06-07", Decimal("0.125"), none, ""),
        (KO, ActionKind.SPLIT, "2024-06-10", Decimal(4), none, ""),
        (PEP, ActionKind.SPLIT, "2024-06-11", Decimal("1.05"), none, ""),
        (PEP, ActionKind.OTHER, "2024-06-12", one, none, ""),
        (BRK, ActionKind.RENAME, "2024-06-12", one, none, "BRKB"),
        (KO, ActionKind.DIVIDEND, "2024-06-14", one, Decimal("0.485"), ""),
    ]
    assert found[2].action_id == "stock_dividends/PEP/2024-06-11"
    _, query = place[0].asked[-1]
    assert (query["symbols"], query["start"], query["end"]) == (["BRK.B,KO,PEP"], ["2024-06-01"], ["2024-06-20"])


@pytest.mark.parametrize("change", [{"new_rate": 0}, {"old_rate": 0}, {"new_rate": "many"}, {"ex_date": "soon", "process_date": None}])
def test_an_action_that_cannot_be_read_is_an_error_and_never_left_out(
    place: tuple[World, str], facts: AlpacaFacts, change: dict[str, Any]
) -> None:
    bad = {"forward_splits": [{**ACTIONS["forward_splits"][0], **change}]}
    place[0].answers["/v1/corporate-actions"] = (200, {"corporate_actions": bad, "next_page_token": None})

    with pytest.raises(Permanent, match="forward_splits of KO"):
        facts.actions([KO], "2024-06-01", "2024-06-20")


@pytest.mark.parametrize(("status", "kind"), [(500, Transient), (429, Transient), (403, Permanent), (404, Permanent)])
def test_answers_that_are_none(place: tuple[World, str], facts: AlpacaFacts, status: int, kind: type[Exception]) -> None:
    place[0].answers["/v2/assets"] = (status, {"message": "no"})
    with pytest.raises(kind, match=str(status)):
        facts.assets([KO], AT_NS)


@pytest.mark.parametrize("body", [{}, {"message": "maintenance"}, None, [], ["KO"], 7])
def test_an_answer_that_is_no_list_of_assets_says_nothing_of_them(place: tuple[World, str], facts: AlpacaFacts, body: object) -> None:
    """Else a proxy's page would make everything untradable for a day."""
    place[0].answers["/v2/assets"] = (200, body)
    with pytest.raises(Transient):
        facts.assets([KO], AT_NS)


@pytest.mark.parametrize(
    "body", [{}, {"message": "maintenance"}, None, [], {"corporate_actions": ["KO"]}, {"corporate_actions": {"forward_splits": {"KO": 4}}}]
)
def test_an_answer_without_corporate_actions_does_not_say_that_there_are_none(
    place: tuple[World, str], facts: AlpacaFacts, body: object
) -> None:
    place[0].answers["/v1/corporate-actions"] = (200, body)
    with pytest.raises((Transient, Permanent)):
        facts.actions([KO], "2024-06-01", "2024-06-20")


def test_a_place_without_corporate_actions_has_none(place: tuple[World, str], facts: AlpacaFacts) -> None:
    del place[0].answers["/v1/corporate-actions"]

    assert facts.actions([KO], "2024-06-01", "2024-06-20") == ()


def test_nobody_there_is_transient() -> None:
    away = AlpacaFacts(key_id="k", secret_key="s", url="http://127.0.0.1:9", data_url="http://127.0.0.1:9")

    with pytest.raises(Transient):
        away.assets([KO], AT_NS)
