"""The fee table against rates that the SEC and FINRA published, to the cent. Sources stand beside each number; tolerance 0."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from recorded_cases import CONFIG
from tandem.adapters.fees_file import load_fees
from tandem.domain.trading import Side
from tandem.flow.fees import charges, due_usd

NOON_NEW_YORK = 16


def fees_on(day: str, qty: int, price: str) -> dict[str, Decimal]:
    moment = datetime.fromisoformat(day).replace(hour=NOON_NEW_YORK, tzinfo=UTC)
    table = load_fees(CONFIG / "fees.yaml")
    found = charges(table, Side.SELL, qty=Decimal(qty), price_usd=Decimal(price), event_ns=int(moment.timestamp()) * 1_000_000_000)
    return {charge.kind: due_usd(Decimal(0), charge.amount_usd) for charge in found}


@pytest.mark.parametrize(
    ("day", "usd"),
    [
        ("2008-03-31", "11.00"),  # FINRA information notice of 2008-03-10: from 11.00 to 5.60 on 2008-04-01
        ("2008-04-01", "5.60"),
        ("2010-03-31", "12.70"),  # FINRA information notice of 2010-03-10: from 12.70 to 16.90 on 2010-04-01
        ("2010-04-01", "16.90"),
        ("2011-01-21", "19.20"),  # SEC release 2010-255
        ("2012-11-15", "22.40"),  # SEC release 2012-232
        ("2014-03-17", "17.40"),  # FINRA information notice of 2014-03-03: from 17.40 to 22.10 on 2014-03-18
        ("2014-03-18", "22.10"),
        ("2016-03-15", "21.80"),  # FINRA information notice of 2016-03-15
        ("2018-05-21", "23.10"),  # FINRA information notice of 2018-05-07: from 23.10 to 13.00 on 2018-05-22
        ("2018-05-22", "13.00"),
        ("2019-04-15", "13.00"),  # FINRA's notice of March 2019: 20.70 from 2019-04-16
        ("2019-04-16", "20.70"),
        ("2020-02-18", "22.10"),  # FINRA information notice of 2020-02-03
        ("2021-02-24", "22.10"),  # SEC fee rate advisory 2 for 2021: 5.10 from 2021-02-25
        ("2021-02-25", "5.10"),
        ("2025-05-13", "27.80"),  # FINRA information notice of 2025-04-24: from 27.80 to 0.00 on 2025-05-14
    ],
)
def test_a_million_dollars_sold_pays_the_published_rate(day, usd):
    """Section 31 on the day of each published change and on the day before."""
    assert fees_on(day, 10_000, "100")["SEC"] == Decimal(usd)


def test_there_was_no_section_31_fee_after_the_sec_had_collected_enough():
    """FINRA information notice of 2025-04-24: 0.00 from 2025-05-14."""
    assert "SEC" not in fees_on("2025-05-14", 10_000, "100")


@pytest.mark.parametrize(
    ("day", "thousand_shares", "cap"),
    [
        ("2011-06-30", "0.08", "3.75"),  # FINRA regulatory notice 11-27: 0.000075, cap 3.75, until 2011-06-30
        ("2011-07-01", "0.09", "4.50"),  # the same: 0.000090, cap 4.50
        ("2012-03-01", "0.10", "4.75"),  # FINRA regulatory notice 12-06: 0.000095, cap 4.75
        ("2015-06-01", "0.12", "5.95"),  # FINRA's rule flow for equities: 0.000119, cap 5.95
        ("2025-06-02", "0.17", "8.30"),  # 0.000166, cap 8.30, as brokers print it
    ],
)
def test_shares_sold_pay_the_published_activity_fee_up_to_its_cap(day, thousand_shares, cap):
    """TAF of 1,000 shares, rounded up to a cent, and of 100,000 shares."""
    assert fees_on(day, 1_000, "10")["TAF"] == Decimal(thousand_shares)
    assert fees_on(day, 100_000, "10")["TAF"] == Decimal(cap)


@pytest.mark.parametrize(
    ("day", "million_shares"),
    [
        ("2024-09-03", "35.00"),  # CAT Fee 2024-1: 0.000035 for trades of September 2024 (the plan's questions and answers, V6)
        ("2024-10-01", "48.00"),  # the same and Historical CAT Assessment 1: 0.000013 for trades from October 2024
    ],
)
def test_a_million_shares_pay_the_published_audit_trail_rate(day, million_shares):
    """Bought or sold."""
    assert fees_on(day, 1_000_000, "10")["CAT"] == Decimal(million_shares)


def test_there_was_no_audit_trail_fee_before_september_2024():
    assert "CAT" not in fees_on("2024-08-30", 1_000_000, "10")
