"""Secrets on their way to stderr are blotted out, whoever writes them."""

import io
import logging
import subprocess
import sys
import traceback
from pathlib import Path
from urllib.parse import quote

import pytest

from tandem.adapters import secrets
from tandem.adapters.secrets import BLOT, Guarded, blotted, hide


@pytest.fixture(autouse=True)
def nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_HIDDEN", set())


def test_a_registered_secret_is_blotted_out_in_each_of_its_forms() -> None:
    """A password in a URL is quoted there and plain in a message of the server."""
    hide([f"postgresql://tandem:{quote('p@ss/word1', safe='')}@db.example:5432/tandem", "Key-of-Alpaca"])

    assert blotted("connect to p%40ss%2Fword1 failed, p@ss/word1, Key-of-Alpaca!") == f"connect to {BLOT} failed, {BLOT}, {BLOT}!"
    assert blotted("db.example:5432/tandem") == "db.example:5432/tandem", "the rest of the URL is no secret"


@pytest.mark.parametrize("word", ["", "test", "recycled", "S3cret"])
def test_what_is_short_or_a_plain_word_is_left_alone(word: str) -> None:
    hide([word, f"redis://:{word}@h:1/0"])

    assert blotted(f"source={word} recycled test") == f"source={word} recycled test"


def test_logs_and_tracebacks_that_pass_the_stream_show_no_secret() -> None:
    hide(["hush-hush-42"])
    raw = io.StringIO()
    stream = Guarded(raw)
    handler = logging.StreamHandler(stream)
    handler.emit(logging.LogRecord("x", logging.WARNING, "f", 1, "key %s", ("hush-hush-42",), None))
    try:
        raise ValueError("cannot use hush-hush-42")
    except ValueError:
        traceback.print_exc(file=stream)
    print("hush-hush-42", file=stream, flush=True)
    stream.writelines(["a\n", "hush-hush-42\n"])

    assert "hush" not in raw.getvalue()
    assert raw.getvalue().count(BLOT) == 5


def test_a_process_that_dies_of_an_error_with_a_secret_in_it_does_not_tell_it() -> None:
    """The whole way: settings are read, logging is configured, the process ends with a traceback in a thread and one in main."""
    program = (
        "import threading\n"
        "from tandem import settings\n"
        "from tandem.adapters import telemetry\n"
        "found = settings.load()\n"
        "telemetry.configure_logging('test')\n"
        "import structlog\n"
        "url, key = found.postgres_url.get_secret_value(), found.alpaca_secret_key.get_secret_value()\n"
        "structlog.get_logger().warning('said', url=url, key=key)\n"
        "def fail():\n"
        "    raise RuntimeError(found.postgres_url.get_secret_value())\n"
        "thread = threading.Thread(target=fail); thread.start(); thread.join()\n"
        "raise RuntimeError(found.api_token.get_secret_value())\n"
    )
    environment = {
        "TANDEM_POSTGRES_URL": "postgresql://u:Pg-s3cret-1@h/d",
        "TANDEM_ALPACA_SECRET_KEY": "Alpaca-s3cret-2",
        "TANDEM_API_TOKEN": "Token-s3cret-3",
    }
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300, check=False)

    assert ended.returncode == 1
    assert "s3cret" not in ended.stdout + ended.stderr
    assert ended.stderr.count(BLOT) >= 4


def test_a_certificate_may_come_as_its_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a container gets it from a Secret: a file of ours that nobody else may read; a path stays what it is."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    text = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

    path = secrets.pem_file(text)

    assert Path(path).read_text() == text
    assert Path(path).stat().st_mode & 0o777 == 0o600
    Path(path).write_text("somebody else's")
    assert Path(secrets.pem_file(text)).read_text() == text, "what stands there is not trusted"
    assert [found.name for found in tmp_path.iterdir()] == [Path(path).name]
    assert secrets.pem_file("/etc/ssl/ca.pem") == "/etc/ssl/ca.pem"
    assert secrets.pem_file("") == ""
