"""SectorModel manifests in config/models, for a platform without a cluster."""

from pathlib import Path

import pytest

from tandem.adapters.model_files import load_models, model_of
from tandem.domain.errors import BadSetting
from tandem.domain.ids import SectorId
from tandem.rollout.policy import RolloutPolicy

ENERGY = """apiVersion: tandem.trading/v1alpha1
kind: SectorModel
metadata: {name: energy}
spec:
  sector: energy
  model: {version: "7"}
  rollout: {watchBars: 5, canary: []}
"""


def write(folder: Path, **texts: str) -> Path:
    """A config folder with these manifests."""
    (folder / "models").mkdir()
    for name, text in texts.items():
        (folder / "models" / f"{name}.yaml").write_text(text)
    return folder


def test_a_manifest_says_what_is_followed_and_how(tmp_path: Path) -> None:
    """What it leaves out has the defaults, and so has a sector without one."""
    models = load_models(write(tmp_path, energy=ENERGY))
    assert list(models) == ["energy"]
    assert models[SectorId("energy")].model.version == "7"
    policy = model_of(models, SectorId("energy")).rollout.to_policy()
    assert (policy.watch_bars, policy.canary, policy.auto_promote) == (5, (), True)
    other = model_of(models, SectorId("technology"))
    assert (other.sector, other.rollout.to_policy()) == ("technology", RolloutPolicy())


def test_without_the_folder_every_sector_has_the_defaults(tmp_path: Path) -> None:
    """Nothing has to be written for rollouts to happen."""
    assert load_models(tmp_path) == {}


def test_every_fault_is_named_with_file_and_line(tmp_path: Path) -> None:
    """An unknown field, a wrong value and a sector that is declared twice, all at once."""
    folder = write(
        tmp_path,
        a=ENERGY,
        b=ENERGY,
        c=ENERGY.replace("watchBars: 5", "watchbars: 5"),
        d=ENERGY.replace('{version: "7"}', '{version: "7", alias: night}').replace("sector: energy", "sector: finance"),
    )
    with pytest.raises(BadSetting) as caught:
        load_models(folder)
    found = str(caught.value)
    assert "b.yaml:5: sector energy has a SectorModel already, one is allowed" in found
    assert "c.yaml:7" in found
    assert "watchbars" in found
    assert "[alias_xor_version]" in found
    assert "d.yaml:6" in found
