"""Settings of the portfolio: all faults are told at once, before anything is connected."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from tandem.domain.errors import BadSetting
from tandem.portfolio.main import _checked
from tandem.settings import Settings

CONFIG = Path(__file__).parents[3] / "config"
GOOD = {
    "config_dir": CONFIG,
    "kafka_bootstrap_servers": "127.0.0.1:9092",
    "postgres_url": SecretStr("postgresql://u:p@127.0.0.1/tandem"),
    "redis_url": SecretStr("redis://127.0.0.1/0"),
    "alpaca_key_id": SecretStr("k"),
    "alpaca_secret_key": SecretStr("s"),
    "alpaca_stream_url": "ws://127.0.0.1:8765/stream",
    "alpaca_api_url": "http://127.0.0.1:8765",
    "source": "recycled",
    "bar": "1d",
    "port": 8000,
}


def test_good_settings_give_the_limits() -> None:
    assert _checked(Settings(**GOOD)).limits.pairs_open_max >= 1


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"kafka_bootstrap_servers": ""}, "TANDEM_KAFKA_BOOTSTRAP_SERVERS"),
        ({"postgres_url": SecretStr("")}, "TANDEM_POSTGRES_URL"),
        ({"alpaca_key_id": SecretStr("")}, "TANDEM_ALPACA_KEY_ID"),
        ({"alpaca_stream_url": ""}, "TANDEM_ALPACA_STREAM_URL"),
        ({"source": "simulated"}, "TANDEM_SOURCE"),
        ({"bar": "2min"}, "2min"),
        ({"port": 0}, "TANDEM_PORT"),
        ({"capital_usd": "-1"}, "TANDEM_CAPITAL_USD"),
        ({"capital_usd": "much"}, "TANDEM_CAPITAL_USD"),
        ({"config_dir": Path("/nowhere")}, "risk.yaml"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_fault_is_named(change: dict[str, object], name: str) -> None:
    with pytest.raises(BadSetting, match=name):
        _checked(Settings(**(GOOD | change)))


def test_live_needs_no_urls_and_all_faults_come_together() -> None:
    _checked(Settings(**(GOOD | {"source": "paper", "alpaca_api_url": "", "alpaca_stream_url": ""})))

    with pytest.raises(BadSetting) as raised:
        _checked(Settings(**(GOOD | {"port": 0, "bar": "2min", "capital_usd": "x"})))
    assert all(word in str(raised.value) for word in ("TANDEM_PORT", "2min", "TANDEM_CAPITAL_USD"))
