"""Every alert has cases and a runbook, and no runbook is left over. tests/integration/test_rules.py fires them."""

from pathlib import Path

import pytest

from prometheus_cases import CASES
from tandem.cli.rules import build
from tandem.cli.rules.alert import Alert

ROOT = Path(__file__).parents[3]


def test_every_alert_has_its_cases() -> None:
    """A new alert comes with what makes it fire and what does not."""
    assert set(CASES) == {alert.name for alert in build.alerts()}


@pytest.mark.parametrize("alert", build.alerts(), ids=lambda alert: alert.name)
def test_every_alert_has_a_runbook(alert: Alert) -> None:
    """The page exists, has a heading of the alert's name, and the index links to it."""
    page = ROOT / "docs/runbooks" / f"{alert.page}.md"
    assert f"## {alert.name}\n" in page.read_text(), alert.runbook
    assert f"({alert.page}.md)" in (ROOT / "docs/runbooks/index.md").read_text()
    assert alert.runbook.endswith(f"#{alert.name.lower()}")


def test_runbooks_speak_of_no_alert_that_is_gone() -> None:
    """A heading without an alert misleads."""
    known = {alert.name for alert in build.alerts()}
    for page in (ROOT / "docs/runbooks").glob("*.md"):
        told = {line.removeprefix("## ") for line in page.read_text().splitlines() if line.startswith("## Tandem")}
        assert told <= known, page.name
