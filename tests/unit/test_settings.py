"""Settings: what the environment says is taken or refused with the name of the field, what was found and what is allowed."""

import pytest

from tandem import settings
from tandem.domain.errors import BadSetting


def test_a_value_that_cannot_be_used_is_named_with_all_others(monkeypatch):
    monkeypatch.setenv("TANDEM_LATENESS_MS", "soon")
    monkeypatch.setenv("TANDEM_PORT", "web")
    with pytest.raises(BadSetting, match=r"lateness_ms is 'soon'.*port is 'web'"):
        settings.load()


def test_a_secret_is_not_shown():
    shown = repr(settings.Settings(alpaca_secret_key="hush"))
    assert "hush" not in shown
