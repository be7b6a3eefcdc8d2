"""TradingAccount: what it declares to the services, and what a deletion leaves behind."""

from typing import get_args

import pytest

from manifest_table import account
from tandem.domain.control import TradingState, control_key
from tandem.domain.trading import TradingMode
from tandem.rollout.trading_account import DELETION_MODES, MODES, TradingAccount, TradingAccountSpec, parse_trading_account
from tandem.rollout.trading_pair import DeletionPolicy


@pytest.mark.parametrize("mode", list(TradingMode))
def test_every_mode_can_be_asked_for(mode: TradingMode) -> None:
    """Of the account, whose name is the resource's."""
    parsed = parse_trading_account(account(name="desk-1", mode=mode.value.title(), reason="drill"))
    assert isinstance(parsed, TradingAccount), parsed
    state = parsed.to_state()
    assert state == TradingState(scope="account/desk-1", mode=mode, reason="drill")
    assert control_key(state) == "trading/account/desk-1"


def test_what_a_manifest_may_say_is_what_is_known() -> None:
    """No mode and no policy without a meaning."""
    assert set(get_args(TradingAccountSpec.model_fields["mode"].annotation)) == set(MODES)
    assert set(get_args(DeletionPolicy)) == set(DELETION_MODES)
