"""Editing a YAML text: the change is made, and nothing else moves."""

import difflib
from pathlib import Path

import pytest

from tandem.adapters.yaml_documents import write_atomically
from tandem.adapters.yaml_edit import add_item, remove_item, set_value
from tandem.domain.errors import BadSetting

TEXT = """\
# head
sectors:
  a:  # about a
    - A  # first

    # a group
    - "B"
  # before b
  b: [C, 'D',
      E]  # about b
  c:
  d: []  # about d

# about active
active:
- a
- b

# end
sel: all  # about sel
"""


def changed(before: str, after: str) -> list[str]:
    """The lines that differ, with - and +."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [f"{line[0]} {line[1:]}" for line in lines if not line.startswith(("---", "+++", "@@"))]


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        (("sectors", "a"), ["+     - NEW"]),
        (("sectors", "b"), ["-       E]  # about b", "+       E, NEW]  # about b"]),
        (("sectors", "c"), ["+     - NEW"]),
        (("sectors", "d"), ["-   d: []  # about d", "+   d: [NEW]  # about d"]),
        (("active",), ["+ - NEW"]),
    ],
)
def test_an_item_is_added_in_the_style_of_its_list(path: tuple[str, ...], lines: list[str]) -> None:
    """One line more, or a bracket longer; comments stay where they are."""
    assert changed(TEXT, add_item("f", TEXT, path, "NEW")) == lines


@pytest.mark.parametrize(
    ("path", "item", "lines"),
    [
        (("sectors", "a"), "A", ["-     - A  # first"]),
        (("sectors", "a"), "B", ['-     - "B"']),
        (("sectors", "b"), "C", ["-   b: [C, 'D',", "+   b: ['D',"]),
        (("sectors", "b"), "E", ["-   b: [C, 'D',", "-       E]  # about b", "+   b: [C, 'D']  # about b"]),
        (("active",), "b", ["- - b"]),
    ],
)
def test_an_item_is_removed_with_its_own_comment_only(path: tuple[str, ...], item: str, lines: list[str]) -> None:
    """The comment of a group of items, and what follows the list, stay."""
    assert changed(TEXT, remove_item("f", TEXT, path, item)) == lines


def test_a_value_is_set_and_its_comment_stays() -> None:
    """Only the word changes."""
    assert changed(TEXT, set_value("f", TEXT, "sel", "few")) == ["- sel: all  # about sel", "+ sel: few  # about sel"]


def test_a_key_that_is_missing_is_added_at_the_end() -> None:
    """Also where the last line has no end."""
    assert set_value("f", "a: 1", "sel", "few") == "a: 1\nsel: few\n"


def test_the_line_ends_of_the_file_are_kept() -> None:
    """A file from Windows stays one."""
    assert add_item("f", "a:\r\n  - X\r\n", ("a",), "Y") == "a:\r\n  - X\r\n  - Y\r\n"


@pytest.mark.parametrize(
    ("text", "path", "item", "message"),
    [
        ("a: [X]\n", ("b",), "X", "there is no b"),
        ("a: [X]\n", ("a",), "Y", "f:1: Y is not in a"),
        ("a: [&x X, Y]\n", ("a",), "X", "f:1: X is not written plainly here"),
    ],
)
def test_what_cannot_be_edited_is_refused(text: str, path: tuple[str, ...], item: str, message: str) -> None:
    """Rather no change than a wrong one."""
    with pytest.raises(BadSetting, match=message):
        remove_item("f", text, path, item)


def test_a_file_is_replaced_at_once_and_keeps_its_mode(tmp_path: Path) -> None:
    """No temporary file is left beside it, and a link stays a link."""
    target, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    write_atomically(link, "new\r\n")
    assert (target.read_bytes(), target.stat().st_mode & 0o777, link.is_symlink()) == (b"new\r\n", 0o640, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.yaml", "real.yaml"]


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    """The error names the file that could not be written."""
    with pytest.raises(BadSetting, match=r"gone/f\.yaml: cannot be written"):
        write_atomically(tmp_path / "gone" / "f.yaml", "text")
