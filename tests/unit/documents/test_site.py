"""`make docs`: the pages become a site without a warning, and the site needs nothing from elsewhere."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
_FETCHED = re.compile(r"""<(?:script|img|link rel="stylesheet")[^>]*(?:src|href)="(https?:[^"]+)""")


def build(folder: Path, site: Path) -> "subprocess.CompletedProcess[str]":
    """The command of the make target, on a folder with mkdocs.yml."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    done = build(ROOT, target)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return target


def test_the_target_builds_like_this_test() -> None:
    """Strict, and not quiet: a quiet build counts no warning and succeeds whatever is wrong."""
    assert "mkdocs build --strict\n" in (ROOT / "Makefile").read_text()


def test_every_page_is_in_the_site_and_reached_from_the_navigation(site: Path) -> None:
    """One HTML file for each page of docs/; strict, so that a page that the navigation forgets is a warning and fails the build."""
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in ROOT.glob("docs/**/*.md")}
    assert {page for page in pages if not (site / page).is_file()} == set()
    front = (site / "index.html").read_text()
    assert [str(page) for page in sorted(pages) if f'href="{page}"' not in front and page.name != "index.html"] == []


def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    """Scripts, styles, fonts and pictures are its own: it reads the same without a network."""
    assert {path.name: found for path in site.rglob("*.html") if (found := _FETCHED.findall(path.read_text()))} == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[gone](nowhere.md)", "nowhere.md"),
        ("[gone](architecture.md#no-such-heading)", "no-such-heading"),
        ("![gone](img/no.svg)", "no.svg"),
    ],
)
def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path, text: str, told: str) -> None:
    """A page, a heading or a picture that is not there is named, and there is no site."""
    for name in ("docs", "config"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    (tmp_path / "docs/index.md").write_text(f"# Broken\n\n{text}\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    assert "WARNING" in done.stderr
    assert told in done.stdout + done.stderr
