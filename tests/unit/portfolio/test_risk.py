"""config/risk.yaml: the shipped file is good, and every fault of another one is named with its line and what is allowed."""

from dataclasses import fields
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from tandem.domain.errors import BadSetting
from tandem.domain.trading import TradingMode
from tandem.flow.breakers import BreakerLimits
from tandem.flow.drift import DriftLimits
from tandem.flow.pretrade import PretradeLimits
from tandem.flow.session_end import Policy, SessionEnd
from tandem.flow.stops import StopLimits
from tandem.portfolio.risk import load_risk

CONFIG = Path(__file__).parents[3] / "config"
TEXT = (CONFIG / "risk.yaml").read_text()


def written(folder: Path, text: str) -> Path:
    (folder / "risk.yaml").write_text(text)
    return folder


def line_of(text: str, part: str) -> int:
    """The first line that holds the text."""
    return next(number for number, line in enumerate(text.splitlines(), start=1) if part in line)


def test_the_shipped_limits_can_be_used() -> None:
    risk = load_risk(CONFIG)

    assert risk.limits.gross_exposure_max <= 2
    assert risk.patience.unwind_attempts_max >= 1
    assert [rung.mode for rung in risk.breakers.ladder.rungs] == [None, TradingMode.REDUCING, TradingMode.HALTED]


def test_the_shipped_file_says_what_holds_without_it() -> None:
    """A part that is left out has these values, and each limit of the code is in the file, where it is explained."""
    risk = load_risk(CONFIG)

    assert (risk.pretrade, risk.breakers, risk.stops, risk.drift) == (PretradeLimits(), BreakerLimits(), StopLimits(), DriftLimits())
    assert risk.session_end == SessionEnd(policy=Policy.KEEP)
    parts = (risk.limits, risk.patience, risk.pretrade, risk.stops, risk.drift, risk.session_end)
    names = [f.name for part in parts for f in fields(part)]
    assert [name for name in names if f"  {name}: " not in TEXT] == []


def test_every_number_of_the_file_has_a_comment_above_it() -> None:
    lines = TEXT.splitlines()
    bare = [line for before, line in pairwise(lines) if line.startswith("  ") and line.strip()[0] not in "#-" and not before.strip()]

    assert bare == []


def test_all_faults_are_named_at_once_by_line_and_range(tmp_path: Path) -> None:
    text = TEXT.replace("pairs_open_max: 20", "pairs_open_max: 0").replace("scale_max: 1.5", "scale_maxx: 1.5")
    text = text.replace("kelly_fraction: 0.25", "kelly_fraction: 0.5").replace("{drawdown: 0.05, size: 0.5}", "{drawdown: 5, size: 0.5}")

    with pytest.raises(BadSetting) as raised:
        load_risk(written(tmp_path, text))

    said = str(raised.value)
    assert f"line {line_of(text, 'pairs_open_max')}: limits.pairs_open_max is 0: Input should be greater than or equal to 1" in said
    assert f"line {line_of(text, 'scale_maxx')}: sizing.scale_maxx is 1.5: Extra inputs are not permitted" in said
    assert f"line {line_of(text, 'sizing:')}: sizing.scale_max is" in said
    assert f"line {line_of(text, 'kelly_fraction')}: sizing.kelly_fraction is 0.5: Input should be less than or equal to 0.25" in said
    assert f"line {line_of(text, 'drawdown: 5')}: drawdown.rungs.0.drawdown is 5: Input should be less than 1" in said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("rejects_max: 10", "rejects_max: 30", "rejects_max <= rejects_window"),
        ("{drawdown: 0.08, size: 0.5, mode: reducing}", "{drawdown: 0.04, mode: reducing}", "larger drawdown than the one before"),
        ("notional_usd_min: 1\n", "notional_usd_min: 2000000\n", "notional_usd_min <= notional_usd_max"),
        ("t_recovered: 1.0", "t_recovered: 4.0", "t_recovered <= t_max"),
    ],
)
def test_numbers_that_do_not_fit_together_name_their_part(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in TEXT

    with pytest.raises(BadSetting, match=r"risk\.yaml: line \d+: (breakers|drawdown|pretrade|drift): ") as raised:
        load_risk(written(tmp_path, TEXT.replace(old, new)))

    assert said in str(raised.value)


def test_an_older_file_without_the_newer_parts_can_be_used(tmp_path: Path) -> None:
    kept = [part for part in TEXT.split("\n\n") if part.startswith(("#", "sizing", "limits", "execution")) and "pretrade:" not in part]
    text = "\n\n".join(part for part in kept if not any(name in part for name in ("breakers:", "drawdown:", "drift:", "session_end:")))

    risk = load_risk(written(tmp_path, text))

    assert risk.stops == StopLimits()
    assert risk.breakers.daily_loss_max == Decimal("0.02")


def closing(text: str, margin_minutes: str) -> str:
    """The file with nothing held over night."""
    return text.replace("policy: keep", "policy: close").replace("margin_minutes: 30", f"margin_minutes: {margin_minutes}")


@pytest.mark.parametrize(
    ("margin_minutes", "bar_s", "said"),
    [
        ("30", 86_400, "policy is close, must be keep with bars of a day"),
        ("4", 300, "margin_minutes is 4, must be at least 5, the length"),
    ],
)
def test_a_session_end_that_no_bar_can_act_on_is_refused(tmp_path: Path, margin_minutes: str, bar_s: int, said: str) -> None:
    text = closing(TEXT, margin_minutes)

    with pytest.raises(BadSetting) as raised:
        load_risk(written(tmp_path, text), bar_ns=bar_s * 10**9)

    assert f"line {line_of(text, 'session_end:')}: session_end: {said}" in str(raised.value)


def test_a_session_end_within_reach_of_a_bar_can_be_used(tmp_path: Path) -> None:
    """`keep` can be with any bar."""
    found = load_risk(written(tmp_path, closing(TEXT, "5")), bar_ns=300 * 10**9)

    assert found.session_end == SessionEnd(policy=Policy.CLOSE, margin_minutes=5)
    assert load_risk(CONFIG, bar_ns=86_400 * 10**9).session_end.policy is Policy.KEEP


@pytest.mark.parametrize("text", [None, "sizing: [", "- a\n- b\n", ""])
def test_a_missing_or_broken_file_is_named(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        written(tmp_path, text)

    with pytest.raises(BadSetting, match=r"risk\.yaml"):
        load_risk(tmp_path)
