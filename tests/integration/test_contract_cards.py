"""The contract cards against the recycler and, with keys, against Alpaca's paper account: the same cards, the same client.

`APCA_API_KEY_ID=... APCA_API_SECRET_KEY=... TANDEM_CONTRACT_PAPER=1 pytest tests/integration/test_contract_cards.py` asks the real one:
limits far from the market, each canceled at once; nothing is ever filled.
"""

import os
from collections.abc import Iterator

import pytest
from alpaca.trading.client import TradingClient

from contract.cards import CARDS, Card
from recorded_cases import MINUTE_NS, OPEN_NS, steady_trades
from recycler_server import serving

KEYS = ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY")
WHY = f"Alpaca's paper API is asked with TANDEM_CONTRACT_PAPER=1 and {' and '.join(KEYS)} only"


@pytest.fixture(scope="module")
def recycler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TradingClient]:
    """At its first bar, in lockstep with nobody who decides: it stays there."""
    data = steady_trades(tmp_path_factory.mktemp("cards") / "trades.parquet")
    with serving(data, lockstep=True, participants=("portfolio",)) as server:
        server.button("start")
        server.until(state="waiting", watermark_ns=OPEN_NS + MINUTE_NS)
        yield server.trading(raw_data=True)


@pytest.fixture(scope="module")
def paper() -> TradingClient:
    if os.environ.get("TANDEM_CONTRACT_PAPER") != "1" or not all(map(os.environ.get, KEYS)):
        pytest.skip(WHY)
    return TradingClient(*(os.environ[name] for name in KEYS), paper=True, raw_data=True)


@pytest.mark.parametrize("server", ["recycler", "paper"])
@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_card(card: Card, server: str, request: pytest.FixtureRequest) -> None:
    """One promise of Alpaca's trading API."""
    card.check(request.getfixturevalue(server))


def test_there_are_cards() -> None:
    assert len({card.name for card in CARDS}) == len(CARDS) >= 16
