"""What the documents name exists: files that they link to, and commands that they tell the reader to run."""

import re
from pathlib import Path

import pytest

from tandem.cli.main import PARTS

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
COMMAND = re.compile(r"(?:^|[`/ ])tandem ([a-z][a-z-]*)", re.MULTILINE)
TARGET = re.compile(r"(?:^|`|&& )make ([a-z-]+)", re.MULTILINE)


def code(text: str) -> str:
    """The code of a document: blocks between fences, and words between backticks."""
    return "\n".join([*re.findall(r"```\n(.*?)```", text, re.DOTALL), *re.findall(r"`[^`\n]+`", text)])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_commands_and_targets_exist(path: Path) -> None:
    """A link leads to a file, `tandem X` is a command, `make X` is a target."""
    text = path.read_text()
    assert [link for link in LINK.findall(text) if not (path.parent / link).exists()] == []
    assert {name for name in COMMAND.findall(code(text)) if name not in PARTS} == set()
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {name for name in TARGET.findall(code(text)) if name not in targets} == set()


def test_the_documents_are_found() -> None:
    """The test above looks at something."""
    assert ROOT / "README.md" in DOCUMENTS
    assert COMMAND.findall(code((ROOT / "README.md").read_text()))


def test_every_trap_of_the_model_has_tests_that_exist() -> None:
    """docs/model.md numbers the traps; each row names tests by file and function."""
    rows = re.findall(r"^\| (\d+)\. .* \| (.*) \|$", (ROOT / "docs/model.md").read_text(), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 21))
    for _, tests in rows:
        named = re.findall(r"`(tests/[a-z_/]+\.py)::(test_[a-z0-9_]+)`", tests)
        assert named, tests
        assert [name for file, name in named if f"def {name}(" not in (ROOT / file).read_text()] == []
