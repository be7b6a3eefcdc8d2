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
    network = options.network
    assert (network.hidden, network.sequence, network.dropout) == (64, 10, 0.255)
    assert (network.learning_rate, network.batch, network.epochs_max) == (3e-4, 32, 50)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    """An unknown key and a share out of range, each with what was found."""
    text = (CONFIG / "training.yaml").read_text().replace("test_share: 0.15", "test_share: 0.9").replace("cost_bps: 5.0", "cost_bp: 5.0")
    path = tmp_path / "training.yaml"
    path.write_text(text)
    with pytest.raises(BadSetting) as caught:
        load_options(path)
    for part in ("walk_forward.test_share", "found 0.9", "cost_bp:", "cost_bps: Field required"):
        assert part in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With its path."""
    with pytest.raises(BadSetting, match=r"nothing\.yaml"):
        load_options(tmp_path / "nothing.yaml")


def test_a_bar_length_without_a_horizon_is_refused() -> None:
    """And what there is is listed."""
    with pytest.raises(BadSetting, match="1d, 5min, 1min"):
        load_options(CONFIG / "training.yaml").horizon_bars("1h")


def test_an_overlay_replaces_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    """As `tandem tune` writes one; an unknown name in it is a mistake like any other."""
    overlay = tmp_path / "best.yaml"
    overlay.write_text("network: {hidden: 32}\nvalidation_share: 0.2\n")
    plain, changed = load_options(CONFIG / "training.yaml"), load_options(CONFIG / "training.yaml", overlay=overlay)
    network = plain.network.model_copy(update={"hidden": 32})
    assert changed == plain.model_copy(update={"network": network, "validation_share": 0.2})
    overlay.write_text("network: {units: 32}\n")
    with pytest.raises(BadSetting, match=r"best\.yaml: network\.units"):
        load_options(CONFIG / "training.yaml", overlay=overlay)
    overlay.write_text("- 3\n")
    with pytest.raises(BadSetting, match="found list, expected a mapping"):
        load_options(CONFIG / "training.yaml", overlay=overlay)


def test_folds_that_leave_too_little_to_fit_on_are_refused(tmp_path: Path) -> None:
    """Five test parts of 15 % would leave the first model a quarter of the span."""
    overlay = tmp_path / "folds.yaml"
    overlay.write_text("walk_forward: {folds: 5}\n")
    with pytest.raises(BadSetting, match=r"5 folds of 0\.15 test more than 0\.6"):
        load_options(CONFIG / "training.yaml", overlay=overlay)
