"""The dashboard's composition root: `python -m tandem.dashboard.main`. Settings in, Streamlit's server out."""

import logging
import pkgutil
import signal
import sys
import time
from importlib import import_module
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from tandem import settings as settings_module
from tandem.adapters import telemetry
from tandem.dashboard import figures, screens
from tandem.dashboard.bundles import Bundles
from tandem.dashboard.sessions import sessions_ahead
from tandem.dashboard.snapshot import sources_of
from tandem.dashboard.widgets import grid
from tandem.domain.errors import BadSetting
from tandem.settings import Settings

SERVICE = "dashboard"
_SCRIPT = Path(__file__).parent / "app.py"


def main() -> None:
    """Serve until SIGTERM or SIGINT. Exit code 2: a setting cannot be used."""
    try:
        settings = settings_module.load()
        telemetry.configure_logging(SERVICE, settings.log_level)
        _check(settings)
        for number in (signal.SIGTERM, signal.SIGINT):  # Streamlit's server stops cleanly, then raises the signal again: it shall end in 0
            signal.signal(number, lambda *_: None)
    except BadSetting as error:
        print(f"tandem {SERVICE}: {error}", file=sys.stderr)
        sys.exit(2)
    options = {
        "server.address": settings.host,
        "server.port": settings.port,
        "server.headless": True,
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": False,  # nothing calls home
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        # Not theme.primaryColor: a theme of one's own is always light, whatever the reader's system asks for.
        "theme.light.primaryColor": "#0072B2",
        "theme.dark.primaryColor": "#2E9BE0",
    }
    _warm_up()
    application().run(config=options)


def application() -> st.App:
    """The pages behind what sends their code."""
    return st.App(_SCRIPT, middleware=[Middleware(Bundles)])


def _warm_up() -> None:
    """Do before the first reader what would make them wait: imports, the exchange's calendar, the first chart and table."""
    for screen in pkgutil.iter_modules(screens.__path__):
        import_module(f"{screens.__name__}.{screen.name}")
    sessions_ahead(time.time_ns())
    logging.disable(logging.WARNING)  # Streamlit warns of what is drawn for nobody
    st.plotly_chart(figures.equity([{"bar_close_ns": time.time_ns(), "equity_usd": 1, "gross_usd": 1}]), key="warm-up")
    grid([{"column": 1}])
    logging.disable(logging.NOTSET)


def _check(settings: Settings) -> None:
    if not settings.port:
        raise BadSetting("TANDEM_PORT is not set")
    if not settings.postgres_url.get_secret_value():
        raise BadSetting("TANDEM_POSTGRES_URL is not set")
    sources_of(settings)


if __name__ == "__main__":
    main()
