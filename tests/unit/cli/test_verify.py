"""`make verify` finds what it is there to find."""

import re
import shutil
from pathlib import Path

import pytest

from tandem.adapters.telemetry import METRICS
from tandem.cli import verify
from tandem.cli.chart_values import VALUES
from tandem.cli.generate import DEFINITIONS, kind_page, metrics_page, settings_page, write
from tandem.cli.locks import LOCKS, pins
from tandem.rollout.crd import KINDS
from tandem.settings import Settings

ROOT = Path(__file__).parents[3]
PROJECT_LOCKS = [lock for lock in LOCKS if lock.extras]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of what the checks read."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    for name in ("pyproject.toml", "Makefile"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / VALUES).parent.mkdir(parents=True)
    shutil.copy(ROOT / VALUES, tmp_path / VALUES)
    write(tmp_path)
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    """Replace the first occurrence of a text in a file; it must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def pin(root: Path, lock: str, package: str) -> str:
    """The one version that a lock pins."""
    (version,) = pins((root / f"requirements/{lock}.lock").read_text())[package]
    return version


def test_a_right_repository_passes(root: Path) -> None:
    """Every check that needs no package index is quiet on the repository as it is."""
    checks = (
        verify.configuration_loads,
        verify.generated_files_agree,
        verify.locks_name_no_host,
        verify.locks_satisfy_project,
        verify.locks_agree,
    )
    for check in checks:
        assert check(root) == [], check.__name__


def test_a_page_that_was_edited_is_found(root: Path) -> None:
    """Also one that is missing."""
    change(root / "docs/reference/settings.md", "Settings", "Setting")
    (root / "docs/reference/metrics.md").unlink()
    faults = verify.generated_files_agree(root)
    assert [fault.split(":")[0] for fault in faults] == ["docs/reference/settings.md", "docs/reference/metrics.md"]


def test_a_definition_that_was_edited_or_left_behind_is_found(root: Path) -> None:
    """The chart installs what the models say, and nothing else."""
    change(root / DEFINITIONS / "tradingpairs.yaml", "- tp\n", "- pair\n")
    (root / DEFINITIONS / "orders.yaml").write_text("kind: CustomResourceDefinition\n")
    assert [fault.split(":")[0] for fault in verify.generated_files_agree(root)] == [
        str(DEFINITIONS / "tradingpairs.yaml"),
        str(DEFINITIONS / "orders.yaml"),
    ]


@pytest.mark.parametrize("line", ["--index-url https://index.example/simple", "x @ file:///tmp/x", "--find-links wheels"])
def test_a_lock_that_names_a_host_is_found(root: Path, line: str) -> None:
    """With file and line."""
    (root / "requirements/run.lock").write_text(f"a==1\n{line}\n")
    assert verify.locks_name_no_host(root) == [f"requirements/run.lock:2: names a place to fetch from: {line}"]


def test_a_requirement_that_the_locks_lack_is_found(root: Path) -> None:
    """A dependency was added and nobody ran `make lock`."""
    change(root / "pyproject.toml", '"httpx>=', '"left-pad>=1",\n  "httpx>=')
    assert [fault.split(",")[0] for fault in verify.locks_satisfy_project(root)] == [
        f"requirements/{lock.file}: has left-pad None" for lock in PROJECT_LOCKS
    ]


def test_an_extra_that_names_another_brings_what_that_holds(root: Path) -> None:
    """The extra of one role is shared by others: each of their locks must have it, the rest not."""
    change(root / "pyproject.toml", "registry = [", 'registry = ["left-pad>=1", ')
    found = {fault.split(":")[0] for fault in verify.locks_satisfy_project(root)}
    assert found == {f"requirements/{name}.lock" for name in ("run", "dev", "forecaster", "operator", "trainer")}


def test_an_image_that_lags_behind_the_tests_is_found(root: Path) -> None:
    """A lock that was not resolved with the others would ship what no test has run."""
    text = (root / "requirements/services.lock").read_text()
    (root / "requirements/services.lock").write_text(re.sub(r"^httpx==\S+", "httpx==0.28.0", text, flags=re.MULTILINE) + "left-pad==1.0\n")
    assert [fault.split(";")[0] for fault in verify.locks_agree(root)] == [
        f"requirements/services.lock: has httpx 0.28.0, requirements/run.lock has {pin(root, 'run', 'httpx')}",
        "requirements/services.lock: has left-pad 1.0, requirements/run.lock has None",
    ]


def test_a_pin_that_the_project_no_longer_allows_is_found(root: Path) -> None:
    """A lower bound was raised and nobody ran `make lock`."""
    change(root / "pyproject.toml", '"httpx>=0.28"', '"httpx>=99"')
    assert all("wants httpx>=99" in fault for fault in verify.locks_satisfy_project(root))
    assert len(verify.locks_satisfy_project(root)) == len(PROJECT_LOCKS)


def test_a_manifest_that_is_not_valid_is_found(root: Path) -> None:
    """With its rule."""
    change(root / "config/pairs/ko-pep.yaml", "[KO, PEP]", "[KO, KO]")
    assert "[legs_differ]" in verify.configuration_loads(root)[0]


def test_a_preset_that_lags_behind_the_declared_pairs_is_found(root: Path) -> None:
    """The preset `pairs` is what the pairs need, nothing else."""
    (root / "config/pairs/ko-pep.yaml").unlink()
    assert verify.configuration_loads(root) == ["config/sectors.yaml: the preset pairs and the legs of config/pairs differ in KO, PEP"]


def test_the_pages_name_every_setting_series_and_rule() -> None:
    """Nothing that exists is undocumented, and no setting is without a meaning."""
    assert all(f"tandem_{name}" in metrics_page() for name in METRICS)
    assert settings_page().count("\n| `") == len(Settings.model_fields)
    assert "|  |" not in settings_page()
    assert all(rule.name in kind_page(kind) for kind in KINDS for rule in (*kind.spec.RULES, *kind.spec.CHANGE_RULES, *kind.model.RULES))
