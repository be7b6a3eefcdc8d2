"""Settings: what the environment says is taken or refused with the name of the field, what was found and what is allowed."""

import re
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from tandem import settings
from tandem.adapters.kafka_servers import client_options
from tandem.domain.errors import BadSetting

RULES = (Path(__file__).parents[2] / "config" / "prometheus" / "rules.yaml").read_text()


def test_a_value_that_cannot_be_used_is_named_with_all_others(monkeypatch):
    monkeypatch.setenv("TANDEM_LATENESS_MS", "soon")
    monkeypatch.setenv("TANDEM_PORT", "web")
    with pytest.raises(BadSetting, match=r"TANDEM_LATENESS_MS is 'soon'.*TANDEM_PORT is 'web'"):
        settings.load()


def test_a_secret_is_not_shown():
    shown = repr(settings.Settings(alpaca_secret_key="hush"))
    assert "hush" not in shown


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"TANDEM_KAFKA_SECURITY": "SASL_SSL", "TANDEM_KAFKA_PASSWORD": "hush-hush"}, "needs a user and a password"),
        ({"TANDEM_KAFKA_SECURITY": "SSL", "TANDEM_KAFKA_CA_FILE": "/no/such.pem"}, "no such file: /no/such.pem"),
        ({"TANDEM_KAFKA_SECURITY": "TLS"}, "TANDEM_KAFKA_SECURITY is 'TLS'"),
        ({"TANDEM_REDIS_URL": "redis://:hush-hush@h:1/0", "TANDEM_REDIS_CA_FILE": "pyproject.toml"}, "does not begin with rediss://"),
        ({"TANDEM_POSTGRES_SSLMODE": "always"}, "TANDEM_POSTGRES_SSLMODE is 'always'"),
        ({"TANDEM_MLFLOW_PUBLIC_URL": "mlflow.example.com"}, "TANDEM_MLFLOW_PUBLIC_URL is 'mlflow.example.com'"),
        ({"TANDEM_MLFLOW_PUBLIC_URL": "javascript:alert(1)"}, "TANDEM_MLFLOW_PUBLIC_URL is 'javascript:alert"),
    ],
)
def test_security_that_cannot_be_is_refused_without_showing_a_secret(monkeypatch, environment, message):
    monkeypatch.setenv("TANDEM_API_TOKEN", "hush-hush")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadSetting, match=message) as refused:
        settings.load()
    assert "hush" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_addresses_carry_how_they_are_talked_to(monkeypatch, tmp_path):
    """Whoever gets an address gets the rest with it; what a URL says itself stays."""
    authority = tmp_path / "ca.pem"
    authority.write_text("")
    for name, value in {
        "KAFKA_BOOTSTRAP_SERVERS": "k:9093",
        "KAFKA_SECURITY": "SASL_SSL",
        "KAFKA_USERNAME": "u",
        "KAFKA_PASSWORD": "p",
        "KAFKA_CA_FILE": str(authority),
        "POSTGRES_URL": "postgresql://u:p@h/d?sslmode=require&application_name=x",
        "POSTGRES_SSLMODE": "verify-full",
        "POSTGRES_CA_FILE": str(authority),
        "REDIS_URL": "rediss://h:6380/0",
        "REDIS_CA_FILE": str(authority),
    }.items():
        monkeypatch.setenv(f"TANDEM_{name}", value)
    found = settings.load()

    assert client_options(found.kafka_bootstrap_servers)["sasl_plain_password"] == "p"
    assert client_options(found.kafka_bootstrap_servers)["ssl_cafile"] == str(authority)
    query = dict(parse_qsl(urlsplit(found.postgres_url.get_secret_value()).query))
    assert query == {"sslmode": "require", "application_name": "x", "sslrootcert": str(authority)}
    assert found.redis_url.get_secret_value() == f"rediss://h:6380/0?ssl_ca_certs={quote(str(authority), safe='')}"


@pytest.mark.parametrize(("name", "low", "high"), [("reconcile_s", 5, 300), ("lease_s", 3, 8)])
def test_a_period_outside_its_range_is_refused_with_what_is_allowed(monkeypatch, name, low, high):
    for value, told in ((low - 0.1, f"greater than or equal to {low}"), (high + 0.1, f"less than or equal to {high}")):
        monkeypatch.setenv(f"TANDEM_{name.upper()}", str(value))
        with pytest.raises(BadSetting, match=f"TANDEM_{name.upper()} is '{value}'.*{told}"):
            settings.load()
    for value in (low, high):
        monkeypatch.setenv(f"TANDEM_{name.upper()}", str(value))
        assert getattr(settings.load(), name) == value


def test_the_rarest_comparison_that_is_allowed_raises_no_alert():
    """Two of three may fail before somebody is called."""
    rule = next(rule for rule in RULES.splitlines() if "expr:" in rule and "tandem_portfolio_last_comparison_seconds" in rule)
    (longest_s,) = [bound.le for bound in settings.Settings.model_fields["reconcile_s"].metadata if hasattr(bound, "le")]
    alarm_s = float(re.search(r"> 0\) > (\d+)", rule)[1])
    assert alarm_s >= 3 * longest_s
