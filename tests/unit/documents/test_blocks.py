"""Which blocks of a page are run, and what the runner makes of them."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from documents.__main__ import check, main, pages_of
from documents.blocks import BadMark, Block, blocks_of
from documents.runner import Outcome, run_page

ROOT = Path(__file__).parents[3]
PAGE = """# A page

```
not marked
```

<!-- runnable: expect="two words" -->
```
echo two words
```

<!-- runnable: slow file=var/a.yaml -->
```yaml
kind: Pair
```
"""


def page(*blocks: tuple[str, str]) -> tuple[Block, ...]:
    """A page of commands, each with its mark."""
    return blocks_of("page.md", "\n".join(f"<!-- runnable{mark} -->\n```\n{code}\n```\n" for mark, code in blocks))


def run(root: Path, *blocks: tuple[str, str], slow: bool = False) -> list[Outcome]:
    return list(run_page(page(*blocks), root, slow=slow))


def test_only_marked_blocks_are_found_with_their_lines() -> None:
    """A block without a mark is text; a marked one knows its page, line, code and mark."""
    assert blocks_of("docs/a.md", PAGE) == (
        Block(page="docs/a.md", line=9, code="echo two words\n", expect="two words"),
        Block(page="docs/a.md", line=14, code="kind: Pair\n", slow=True, file="var/a.yaml"),
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<!-- runnable -->\n\n```\ntrue\n```\n", "page.md:1: a mark stands on the line above a fence"),
        ("<!-- runnable -->\n```yaml\na: 1\n```\n", "page.md:1: a block of yaml is not run"),
        ("\n<!-- runnable: slowly -->\n```\ntrue\n```\n", "page.md:2: unknown in a mark: slowly"),
        ("<!-- runnable: file=README.md -->\n```\na\n```\n", "page.md:1: file=README.md is outside var/"),
        ("<!-- runnable: file=/etc/a -->\n```\na\n```\n", "page.md:1: file=/etc/a is outside var/"),
    ],
)
def test_a_bad_mark_is_refused(text: str, told: str) -> None:
    """A mark that would run nothing, or something else than was meant, is a fault of the page."""
    with pytest.raises(BadMark, match=told.replace("(", "\\(")):
        blocks_of("page.md", text)


def test_blocks_are_one_session_in_the_root(tmp_path: Path) -> None:
    """What a block exports or saves, a later one finds; it runs in the repository's root."""
    (tmp_path / "here").touch()
    blocks = blocks_of(
        "page.md",
        "<!-- runnable -->\n```\nls here; export NAME='a \"b\"'\n```\n"
        "<!-- runnable: file=var/text -->\n```yaml\nsaved\n```\n"
        "<!-- runnable: expect='a \"b\" saved' -->\n```\necho $NAME $(cat var/text)\n```\n",
    )
    assert [outcome.fault for outcome in run_page(blocks, tmp_path, slow=False)] == ["", "", ""]


@pytest.mark.parametrize(
    ("mark", "code", "fault"),
    [
        ("", "false\ntrue", "exit code 1"),
        ("", "false | true; nothing-of-this-name", "exit code"),
        ("", "false | cat", "exit code 1"),
        (": expect=KO-PEP", "echo KO", "its output does not hold 'KO-PEP'"),
    ],
)
def test_a_block_fails_where_a_reader_would_be_stopped(tmp_path: Path, mark: str, code: str, fault: str) -> None:
    """Any command that fails, and output that is not what the page promises, fail the block."""
    (outcome,) = run(tmp_path, (mark, code))
    assert outcome.fault.startswith(fault)


def test_after_a_failure_only_what_tidies_up_is_run(tmp_path: Path) -> None:
    """A page stops at its first failure, and its platform is stopped all the same."""
    outcomes = run(tmp_path, ("", "false"), ("", "touch wrong"), (": always", "touch tidied"))
    assert [bool(outcome.fault) for outcome in outcomes] == [True, False]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tidied"]


def test_slow_blocks_wait_until_they_are_asked_for(tmp_path: Path) -> None:
    """Without being asked for they are left out; with it, all blocks of the page run in their order."""
    blocks = (("", "echo 1 >> order"), (": slow", "echo 2 >> order"), ("", "echo 3 >> order"))
    run(tmp_path, *blocks)
    assert (tmp_path / "order").read_text() == "1\n3\n"
    run(tmp_path, *blocks, slow=True)
    assert (tmp_path / "order").read_text() == "1\n3\n1\n2\n3\n"


@pytest.fixture
def heeds_interrupts() -> Iterator[None]:
    """As at a terminal: a shell starts what it puts in the background with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_interrupts")
def test_an_interrupted_page_tidies_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the midst of a block ends it, runs what tidies up, and is told to the caller."""
    root, waits, started = tmp_path / "root", tmp_path / "waits", []
    root.mkdir()

    class Waited(subprocess.Popen):
        """A shell is often faster than who started it: before that one waits for it, it would not be in the midst of a block."""

        def wait(self, timeout: float | None = None) -> int:
            started.append(self)
            waits.touch()
            return super().wait(timeout)

    monkeypatch.setattr(subprocess, "Popen", Waited)
    block = f'until [ -e {waits} ]; do sleep 0.01; done; kill -INT "$PPID"; sleep 60'
    with pytest.raises(KeyboardInterrupt):
        list(run_page(page(("", block), ("", "touch wrong"), (": always", "touch tidied")), root, slow=False))
    assert sorted(path.name for path in root.iterdir()) == ["tidied"]
    assert len({child.pid for child in started}) == 2
    assert all(child.returncode is not None for child in started), "both have ended"


def test_a_failed_block_fails_the_check_and_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code of the whole is 1, and page, line, fault and output are printed."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("<!-- runnable -->\n```\ntrue\n```\n")
    (tmp_path / "docs/a.md").write_text(
        "<!-- runnable -->\n```\necho what it said; exit 3\n```\n<!-- runnable: slow -->\n```\nfalse\n```\n"
    )
    assert check(tmp_path, pages_of(tmp_path, []), slow=False) == 1
    out = capsys.readouterr().out
    assert "docs/a.md:3" in out
    assert "exit code 3" in out
    assert "      what it said" in out
    assert "2 blocks run, 1 failed, 1 slow ones left out" in out


def test_the_marks_of_all_pages_are_good_and_some_are_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every page can be read; README, quickstart and tutorial have blocks, so that the check looks at something."""
    monkeypatch.chdir(ROOT)
    found = {page.relative_to(ROOT).as_posix(): blocks_of(page.name, page.read_text()) for page in pages_of(ROOT, [])}
    assert all(found[page] for page in ("README.md", "docs/quickstart.md", "docs/tutorial.md"))
    assert any(not block.slow for blocks in found.values() for block in blocks)
    assert main(["docs/house-style.md"]) == 0  # has none


def test_a_page_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that was mistyped runs nothing and says how pages are named."""
    monkeypatch.chdir(tmp_path)
    assert main(["tutorial.md"]) == 2
    assert "no page tutorial.md" in capsys.readouterr().err
