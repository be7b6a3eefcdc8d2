"""config/risk.yaml: the shipped file is good, and every fault of another one is named."""

from pathlib import Path

import pytest

from tandem.domain.errors import BadSetting
from tandem.portfolio.risk import load_risk

CONFIG = Path(__file__).parents[3] / "config"


def test_the_shipped_limits_can_be_used() -> None:
    risk = load_risk(CONFIG)

    assert risk.limits.gross_exposure_max <= 2
    assert risk.patience.unwind_attempts_max >= 1


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    text = (CONFIG / "risk.yaml").read_text()
    text = text.replace("pairs_open_max: 20", "pairs_open_max: 0").replace("scale_max: 1.5", "scale_maxx: 1.5")
    (tmp_path / "risk.yaml").write_text(text)

    with pytest.raises(BadSetting) as raised:
        load_risk(tmp_path)

    assert "limits.pairs_open_max is 0" in str(raised.value)
    assert "sizing.scale_max" in str(raised.value)
    assert "sizing.scale_maxx" in str(raised.value)


@pytest.mark.parametrize("text", [None, "sizing: [", "- a\n- b\n", ""])
def test_a_missing_or_broken_file_is_named(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "risk.yaml").write_text(text)

    with pytest.raises(BadSetting, match=r"risk\.yaml"):
        load_risk(tmp_path)
