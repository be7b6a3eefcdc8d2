"""The refresh button, over an HTTP server that answers as a portfolio would."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import streamlit as st
from streamlit.commands.page_config import _get_favicon_string
from streamlit.testing.v1 import AppTest

from recorded_cases import CONFIG
from tandem.dashboard import snapshot

_SCRIPT = Path(snapshot.__file__).with_name("app.py")


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    """The whole script; whoever it asks refuses the token to change something, and is not ready to tell anything."""

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(503, b'{"detail": "starting"}')

        def do_POST(self) -> None:
            self._answer(401, b'{"detail": "a valid Bearer token is needed"}')

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("TANDEM_PORTFOLIO_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("TANDEM_POSTGRES_URL", f"postgresql://nobody@127.0.0.1:{server.server_port}/nothing")
    monkeypatch.setenv("TANDEM_CONFIG_DIR", str(CONFIG))
    st.cache_resource.clear()
    yield AppTest.from_file(str(_SCRIPT), default_timeout=120)
    st.cache_resource.clear()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_refresh_that_could_not_drop_the_cache_says_so(app: AppTest) -> None:
    """Without a token that the portfolio takes, what is asked again may be older than the button: a reader has to know."""
    app.run()
    assert not app.exception
    assert not app.sidebar.warning
    app.sidebar.button[0].click().run()
    assert [warning.value for warning in app.sidebar.warning] == [
        "The portfolio kept its cache: the portfolio answers 401: a valid Bearer token is needed."
    ]


def test_a_page_brings_its_icon(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a name its reader's browser would ask a host of somebody else's for it."""
    icons: list[str] = []
    monkeypatch.setattr(st, "set_page_config", lambda **options: icons.append(options["page_icon"]))
    app.run()
    assert [_get_favicon_string(icon).split(",")[0] for icon in icons] == ["data:image/svg+xml;base64"]
