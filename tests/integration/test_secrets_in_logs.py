"""Services whose every server is away or refuses them say so at length, and never with a secret in it."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from free_ports import free_port
from replay_world import until

SECRETS = {
    "postgres": "Pg-s3cret-word",
    "redis": "Rd-s3cret-word",
    "kafka": "Kf-s3cret-word",
    "key": "AKS3CRETKEYID",
    "secret": "Al-s3cret-word",
    "token": "Tk-s3cret-word",
    "webhook": "Wh-s3cret-word",
}
AWAY = "127.0.0.1:1"
ROOT = Path(__file__).parent.parent.parent
_ENDS_S = 40  # Kafka's client asks for half a minute before it gives up
_SAYS_S = 180  # until the first word of a server, on a busy machine


def environment() -> dict[str, str]:
    """Secrets everywhere, and nobody behind any address."""
    return {
        **os.environ,
        "TANDEM_CONFIG_DIR": str(ROOT / "config"),
        "TANDEM_LOG_LEVEL": "DEBUG",
        "TANDEM_POSTGRES_URL": f"postgresql://tandem:{SECRETS['postgres']}@127.0.0.1:1/tandem",
        "TANDEM_REDIS_URL": f"redis://:{SECRETS['redis']}@127.0.0.1:1/0",
        "TANDEM_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "TANDEM_KAFKA_SECURITY": "SASL_PLAINTEXT",
        "TANDEM_KAFKA_SASL_MECHANISM": "PLAIN",
        "TANDEM_KAFKA_USERNAME": "tandem",
        "TANDEM_KAFKA_PASSWORD": SECRETS["kafka"],
        "TANDEM_ALPACA_KEY_ID": SECRETS["key"],
        "TANDEM_ALPACA_SECRET_KEY": SECRETS["secret"],
        "TANDEM_ALPACA_API_URL": "http://127.0.0.1:1",
        "TANDEM_ALPACA_STREAM_URL": "ws://127.0.0.1:1/stream",
        "TANDEM_ALPACA_DATA_URL": "ws://127.0.0.1:1/v2/iex",
        "TANDEM_API_TOKEN": SECRETS["token"],
        "TANDEM_WEBHOOK_SECRET": SECRETS["webhook"],
        "TANDEM_SECTOR": "consumer",
        "TANDEM_MODEL_VERSION": "1",
        "TANDEM_SOURCE": "recycled",
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:1",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }


@pytest.mark.parametrize("service", ["portfolio", "recorder", "ingestor"])
def test_what_a_service_says_of_servers_that_are_away_holds_no_secret(service: str, unused_port: int, tmp_path: Path) -> None:
    output = tmp_path / "said.log"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", f"tandem.{service}.main"],
            env=environment() | {"TANDEM_PORT": str(unused_port)},
            stdout=file,
            stderr=file,
        )
        try:
            until("it names the server that is away", lambda: process.poll() is not None or AWAY.encode() in output.read_bytes(), _SAYS_S)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_ENDS_S)
        finally:
            process.kill()
            process.wait()
    said = output.read_text()

    assert AWAY in said, "it names the server that is away"
    for name, secret in SECRETS.items():
        assert secret not in said, name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TANDEM_POSTGRES_URL", f"mysql://tandem:{SECRETS['postgres']}@127.0.0.1:1/tandem"),
        ("TANDEM_REDIS_URL", f"memcached://:{SECRETS['redis']}@127.0.0.1:1/0"),
        ("TANDEM_KAFKA_SECURITY", "SSL"),  # with a password
        ("TANDEM_LATENESS_MS", "soon"),
    ],
)
def test_a_setting_that_is_refused_is_named_without_any_secret(name: str, value: str, unused_port: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tandem.portfolio.main"],
        env=environment() | {"TANDEM_PORT": str(unused_port), name: value},
        capture_output=True,
        text=True,
        timeout=_SAYS_S,
        check=False,
    )
    said = ended.stdout + ended.stderr

    assert ended.returncode in (1, 2)
    assert said
    assert not [secret for secret in SECRETS.values() if secret in said]


@pytest.fixture
def unused_port() -> int:
    """A port that nobody listens on now."""
    return free_port()
