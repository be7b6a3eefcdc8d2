"""Settings of the portfolio: all faults are told at once, before anything is connected."""

import threading
from pathlib import Path

import pytest
from pydantic import SecretStr

from tandem.domain.errors import BadSetting, Transient
from tandem.portfolio.main import _checked, keep_trading, next_pause_s
from tandem.portfolio.session import Condition
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


def test_what_risk_yaml_asks_for_must_have_a_meaning_on_the_bars_of_the_settings(tmp_path: Path) -> None:
    """Nothing can be closed before a session ends by decisions that are made at its end."""
    (tmp_path / "risk.yaml").write_text((CONFIG / "risk.yaml").read_text().replace("policy: keep", "policy: close"))
    settings = GOOD | {"config_dir": tmp_path}

    with pytest.raises(BadSetting, match=r"risk\.yaml: line \d+: session_end: policy is close, must be keep with bars of a day"):
        _checked(Settings(**settings))
    assert _checked(Settings(**(settings | {"bar": "5min"}))).session_end.margin_minutes == 30


def test_live_needs_no_urls_and_all_faults_come_together() -> None:
    _checked(Settings(**(GOOD | {"source": "paper", "alpaca_api_url": "", "alpaca_stream_url": ""})))

    with pytest.raises(BadSetting) as raised:
        _checked(Settings(**(GOOD | {"port": 0, "bar": "2min", "capital_usd": "x"})))
    assert all(word in str(raised.value) for word in ("TANDEM_PORT", "2min", "TANDEM_CAPITAL_USD"))


class _Patience(threading.Event):
    """A stop that notes how long was waited for it, and is set after so many waits."""

    def __init__(self, waits_max: int) -> None:
        super().__init__()
        self.waited_s: list[float] = []
        self._waits_max = waits_max

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waited_s.append(timeout)
        if len(self.waited_s) == self._waits_max:
            self.set()
        return self.is_set()


@pytest.mark.parametrize(
    ("sessions", "pauses_s"),
    [
        ([(0.1, False)] * 6 + [(3600.0, False), (0.1, False)], [1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 1.0, 2.0]),
        ([(0.1, True)] * 4, [1.0, 1.0, 1.0, 1.0]),
        ([(0.1, False), (0.1, False), (0.1, True), (0.1, False)], [1.0, 2.0, 1.0, 2.0]),
    ],
    ids=["a server is away, for an hour all is well", "one bar at a time", "a server is away, then it is back"],
)
def test_pauses_grow_while_a_server_is_away_and_begin_anew_after_a_session_that_was_of_use(
    sessions: list[tuple[float, bool]], pauses_s: list[float]
) -> None:
    """The tenth short outage of a day is answered as quickly as the first."""
    pauses = [0.0]
    for lasted_s, traded in sessions:
        pauses.append(next_pause_s(pauses[-1], lasted_s, traded=traded))
    assert pauses[1:] == pauses_s


@pytest.mark.parametrize(("traded", "pauses_s"), [(True, [1.0] * 5), (False, [1.0, 2.0, 4.0, 8.0, 10.0])])
def test_single_failures_in_a_row_do_not_keep_the_market_still(traded: bool, pauses_s: list[float]) -> None:
    """A broker that answers every other question with nothing costs a second each time while bars go on between."""
    condition, stop = Condition(was_ready=True), _Patience(waits_max=5)

    def session() -> None:
        condition.traded = traded
        raise Transient("the answer is empty")

    keep_trading(session, condition, stop)

    assert stop.waited_s == pauses_s
    assert condition.reason == "the answer is empty"
