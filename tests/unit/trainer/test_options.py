"""config/training.yaml: it is valid, and mistakes in it are named."""

from pathlib import Path

import pytest

from model_cases import CONFIG
from tandem.domain.errors import BadSetting
from tandem.trainer.options import load_options


def test_the_shipped_file_is_valid() -> None:
    """And trains on the three bar lengths of the platform."""
    options = load_options(CONFIG / "training.yaml")
    assert set(options.bars) == {"1d", "5min", "1min"}
    assert (options.network.hidden, options.network.sequence, options.network.dropout) == (64, 10, 0.255)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    """An unknown key and a share out of range, each with what was found."""
    text = (
        (CONFIG / "training.yaml").read_text().replace("holdout_share: 0.15", "holdout_share: 0.9").replace("refit: true", "refitt: true")
    )
    path = tmp_path / "training.yaml"
    path.write_text(text)
    with pytest.raises(BadSetting) as caught:
        load_options(path)
    for part in ("holdout_share", "found 0.9", "refitt", "refit: Field required"):
        assert part in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With its path."""
    with pytest.raises(BadSetting, match=r"nothing\.yaml"):
        load_options(tmp_path / "nothing.yaml")


def test_a_bar_length_without_a_horizon_is_refused() -> None:
    """And what there is is listed."""
    with pytest.raises(BadSetting, match="1d, 5min, 1min"):
        load_options(CONFIG / "training.yaml").horizon_bars("1h")
