"""Regulatory fees: who pays, which rate holds when, rounding and cap; and the file they are read from."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from exchange_cases import BUY, FEES, SELL, usd
from recorded_cases import CONFIG
from tandem.adapters.fees_file import load_fees, parse_fees
from tandem.domain.errors import BadSetting
from tandem.flow.fees import CatRate, FeeTable, Section31Rate, charges, due_usd


def charged(table, side, qty, price, event_ns=0):
    """What the only fill of a day pays."""
    found = charges(table, side, qty=usd(qty), price_usd=usd(price), event_ns=event_ns)
    return {c.kind: due_usd(Decimal(0), c.amount_usd) for c in found}


def test_a_buyer_pays_nothing():
    assert charged(FEES, BUY, "100", "60") == {}


def test_the_audit_trail_is_paid_by_buyers_and_sellers():
    table = FeeTable(cat=(CatRate(from_ns=0, usd_per_share=usd("0.00005")),))
    assert [charged(table, side, "1000", "60") for side in (BUY, SELL)] == [{"CAT": usd("0.05")}] * 2


def test_a_day_is_rounded_up_once_however_many_fills_it_has():
    """Ten fills of 0.0012 USD each: one cent with the first, another when the sum passes the cent."""
    dues, total = [], Decimal(0)
    for _ in range(10):
        dues.append(due_usd(total, usd("0.0012")))
        total += usd("0.0012")
    assert dues == [usd("0.01"), *[0] * 7, usd("0.01"), 0]
    assert sum(dues) == usd("0.02")


def test_each_fee_is_rounded_up_to_a_cent():
    assert charged(FEES, SELL, "1", "1") == {"SEC": usd("0.01"), "TAF": usd("0.01")}
    assert charged(FEES, SELL, "100", "60") == {"SEC": usd("0.12"), "TAF": usd("0.10")}
    assert charged(FEES, SELL, "101", "60") == {"SEC": usd("0.13"), "TAF": usd("0.11")}


def test_the_activity_fee_has_a_cap():
    assert charged(FEES, SELL, "100000", "1")["TAF"] == usd("0.50")


def test_a_rate_holds_from_its_start_until_the_next():
    table = FeeTable(section_31=tuple(Section31Rate(from_ns=ns, usd_per_million=Decimal(rate)) for ns, rate in [(10, 10000), (20, 20000)]))
    assert [charged(table, SELL, "1", "1", ns) for ns in (9, 10, 19, 20)] == [
        {},
        {"SEC": usd("0.01")},
        {"SEC": usd("0.01")},
        {"SEC": usd("0.02")},
    ]


def test_a_rate_of_nothing_is_no_fee():
    assert charged(FeeTable(section_31=(Section31Rate(from_ns=0, usd_per_million=Decimal(0)),)), SELL, "100", "100") == {}


@pytest.mark.parametrize("times", [(2, 1), (1, 1)])
def test_rates_must_be_in_order(times):
    with pytest.raises(ValueError, match="must be ascending"):
        FeeTable(section_31=tuple(Section31Rate(from_ns=ns, usd_per_million=Decimal(1)) for ns in times))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("taf: []\nborrow: []\n", "fees.yaml:2: unknown key 'borrow', allowed are section_31, taf, cat"),
        ("taf: 5\n", "fees.yaml:1: taf must be a list"),
        ("section_31:\n  - {from: 2024-01-01}\n", "fees.yaml:2: a rate of section_31 must have exactly from, usd_per_million"),
        ("section_31:\n  - {from: soon, usd_per_million: '1'}\n", "fees.yaml:2: found 'soon', must be a date such as 2024-05-22"),
        ("section_31:\n  - {from: 2024-01-01, usd_per_million: 27.8}\n", "fees.yaml:2: found 27.8, must be an amount in quotes"),
        ("section_31:\n  - {from: 2024-01-01, usd_per_million: '-1'}\n", "fees.yaml:2: found '-1'"),
        (
            "section_31:\n  - {from: 2024-01-02, usd_per_million: '1'}\n  - {from: 2024-01-01, usd_per_million: '1'}\n",
            "fees.yaml: fee rates start at",
        ),
    ],
)
def test_a_bad_file_is_refused_with_its_line(text, found):
    with pytest.raises(BadSetting) as caught:
        parse_fees("fees.yaml", text)
    assert found in str(caught.value)


def test_a_date_counts_from_midnight_in_new_york():
    table = parse_fees("fees.yaml", "section_31:\n  - {from: 2024-05-22, usd_per_million: '27.80'}\n")
    assert table.section_31[0].from_ns == int(datetime(2024, 5, 22, 4, tzinfo=UTC).timestamp()) * 1_000_000_000


def test_the_table_that_comes_with_tandem_can_be_read():
    table = load_fees(CONFIG / "fees.yaml")
    assert len(table.section_31) > 20
    assert len(table.taf) > 5
    assert len(table.cat) > 1
