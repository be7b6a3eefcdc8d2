"""What is said about an account, from the broker's document and the book's risk."""

from typing import Any

import pytest

from tandem.dashboard.cautions import cautions

ACCOUNT = {"equity": "1000", "maintenance_margin": "500", "shorting_enabled": True, "trading_blocked": False}
RISK = {"equity_usd": "1000", "drawdown": 0.0, "size_factor": 1.0, "quarantined": [], "breakers": [], "symbols": []}
BREAKER = {"breaker": "daily_loss", "mode": "flattening", "reason": "lost 3 %", "at_ns": 1, "ends": "next_session"}


@pytest.mark.parametrize(
    ("account", "risk", "said"),
    [
        ({}, {}, []),
        ({"trading_blocked": True}, {}, ["The broker says trading_blocked."]),
        ({"shorting_enabled": False}, {}, ["does not let the account sell short"]),
        ({"pattern_day_trader": True, "daytrade_count": 4}, {}, ["pattern day trader (4 day trades)"]),
        ({"maintenance_margin": "501"}, {}, ["Maintenance margin is 501 USD of 1,000 USD equity"]),
        ({}, {"breakers": [BREAKER]}, ["Breaker daily_loss has set flattening: lost 3 %. It ends by next_session."]),
        ({}, {"quarantined": ["KO-PEP"]}, ["In quarantine until a person releases them: KO-PEP."]),
        ({}, {"drawdown": 0.11, "size_factor": 0.5}, ["drawdown of 11.0% leaves 50% of a new position's size"]),
        ({}, {"symbols": [{"symbol": "KO", "qty": "-3", "value_usd": "-201"}]}, ["KO is 20% of equity"]),
        ({}, {"symbols": [{"symbol": "KO", "qty": "3", "value_usd": "200"}]}, []),
        ({"account_blocked": True}, {"quarantined": ["KO-PEP"]}, ["account_blocked", "In quarantine"]),
    ],
)
def test_a_sentence_for_each_thing_to_know(account: dict[str, Any], risk: dict[str, Any], said: list[str]) -> None:
    """And none for an account that is as it should be; at a threshold nothing is said yet."""
    found = cautions(ACCOUNT | account, RISK | risk)
    assert len(found) == len(said)
    assert all(part in sentence for part, sentence in zip(said, found, strict=True))


def test_what_the_broker_does_not_tell_is_not_judged() -> None:
    """An account document without margin or shorting says nothing about them."""
    assert cautions({"equity": "1000"}, RISK) == []
