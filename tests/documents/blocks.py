"""Which code blocks of a page are marked runnable, and how. Reads text only; runner.py runs what is found.

A mark is a comment on the line above the fence, which neither the site nor GitHub shows:

    <!-- runnable -->                          commands, run with the page's earlier ones as one session
    <!-- runnable: expect="KO-PEP" -->         and their output must hold this text
    <!-- runnable: slow -->                    only when asked for: it starts a platform, or trains
    <!-- runnable: always -->                  also after a block before it has failed: it tidies up
    <!-- runnable: file=var/pair.yaml -->      no commands: the text that the reader saves under this name
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

_MARK = re.compile(
    r"^<!-- runnable(?::\s*(?P<words>.*?))?\s*-->\n(?P<fence>```(?P<language>\w*)\n(?P<code>.*?)^```$)?", re.MULTILINE | re.DOTALL
)
_FLAGS = frozenset({"slow", "always"})
_KEYS = frozenset({"expect", "file"})
_SHELL = frozenset({"", "sh", "bash"})


class BadMark(ValueError):
    """A mark that says nothing the runner knows, or stands above something that cannot be run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block that a reader can run or save. line: of its first line of code in the page, from 1."""

    page: str
    line: int
    code: str
    slow: bool = False
    always: bool = False
    expect: str = ""
    file: str = ""


def blocks_of(page: str, text: str) -> tuple[Block, ...]:
    """The marked blocks of a page in their order. Raises BadMark with page and line."""
    return tuple(_block(page, text, match) for match in _MARK.finditer(text))


def _block(page: str, text: str, match: re.Match[str]) -> Block:
    line = text.count("\n", 0, match.start()) + 1
    if match["fence"] is None:
        raise BadMark(f"{page}:{line}: a mark stands on the line above a fence of three backticks; here is none")
    words = shlex.split(match["words"] or "")
    flags = {word for word in words if "=" not in word}
    values = dict(word.split("=", 1) for word in words if "=" in word)
    if unknown := sorted((flags - _FLAGS) | (set(values) - _KEYS)):
        raise BadMark(f"{page}:{line}: unknown in a mark: {', '.join(unknown)}; allowed are {', '.join(sorted(_FLAGS | _KEYS))}")
    file = values.get("file", "")
    if not file and match["language"] not in _SHELL:
        raise BadMark(f"{page}:{line}: a block of {match['language']} is not run; allowed are commands for a shell, or file=NAME")
    if file and (Path(file).is_absolute() or Path(file).parts[0] != "var"):
        raise BadMark(f"{page}:{line}: file={file} is outside var/, where a reader's own files belong")
    return Block(
        page=page,
        line=line + 2,
        code=match["code"],
        slow="slow" in flags,
        always="always" in flags,
        expect=values.get("expect", ""),
        file=file,
    )
