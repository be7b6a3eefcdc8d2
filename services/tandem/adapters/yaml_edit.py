"""Small changes to a YAML text that leave every other character as it was: an item more or less in a list, another value of a key.

ruamel.yaml tells where a value stands; the change is made in the text. (Writing the parsed document again would move the comment after
a list's last item behind a new item, and set the author's indentation right.)
"""

import re
from itertools import accumulate
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from tandem.adapters.yaml_documents import Document, read_documents
from tandem.domain.errors import BadSetting


def add_item(file: str, text: str, path: tuple[str, ...], item: str) -> str:
    """The text with one more item at the end of the list at `path`. Raises BadSetting if there is no such key."""
    document = _document(file, text)
    items = _node(document, path)
    if not items and not _is_flow(items):  # a key without a value
        line, column = _node(document, path[:-1]).lc.key(path[-1])
        return _insert_line(text, line + 1, " " * (column + 2) + f"- {item}")
    if not items:
        start = _offset(text, *_node(document, path[:-1]).lc.value(path[-1]))
        return text[: start + 1] + item + text[start + 1 :]
    start, end = _span(document, text, path, len(items) - 1)
    if _is_flow(items):
        return f"{text[:end]}, {item}{text[end:]}"
    line = items.lc.item(len(items) - 1)[0]
    indent = text[text.rfind("\n", 0, start) + 1 : start]
    return _insert_line(text, line + 1, indent + item)


def remove_item(file: str, text: str, path: tuple[str, ...], item: str) -> str:
    """The text without one item of the list at `path`; its line goes with its comment. Raises BadSetting if the list lacks it."""
    document = _document(file, text)
    items = _node(document, path)
    if items is None or item not in items:
        raise BadSetting(f"{document.at(*path)}: {item} is not in {'.'.join(path)}")
    index = items.index(item)
    start, end = _span(document, text, path, index)
    if not _is_flow(items):
        return text[: text.rfind("\n", 0, start) + 1] + text[_line_end(text, end) :]
    if index + 1 < len(items):
        end = _span(document, text, path, index + 1)[0]
    elif index:
        start = _span(document, text, path, index - 1)[1]
    return text[:start] + text[end:]


def set_value(file: str, text: str, key: str, value: str) -> str:
    """The text with another plain value of a top-level key; a key that is missing is added at the end."""
    document = _document(file, text)
    if key not in document.root:
        newline = "" if not text or text.endswith("\n") else "\n"
        return f"{text}{newline}{key}: {value}\n"
    start = _offset(text, *document.root.lc.value(key))
    return text[:start] + value + text[_scalar_end(document, text, start, str(document.root[key])) :]


def _document(file: str, text: str) -> Document:
    documents = read_documents(file, text)
    if len(documents) != 1:
        raise BadSetting(f"{file}: {len(documents)} YAML documents, must be 1")
    return documents[0]


def _node(document: Document, path: tuple[str, ...]) -> Any:
    node: Any = document.root
    for step in path:
        if not isinstance(node, CommentedMap) or step not in node:
            raise BadSetting(f"{document.at(*path)}: there is no {'.'.join(path)}")
        node = node[step]
    return node


def _is_flow(items: Any) -> bool:
    """True for a list in brackets."""
    return isinstance(items, CommentedSeq) and items.fa.flow_style() is not False  # an empty list has brackets, and no style


def _span(document: Document, text: str, path: tuple[str, ...], index: int) -> tuple[int, int]:
    """Where an item's own text starts and ends."""
    items = _node(document, path)
    start = _offset(text, *items.lc.item(index))
    return start, _scalar_end(document, text, start, items[index])


def _scalar_end(document: Document, text: str, start: int, value: str) -> int:
    """The end of a plain or quoted scalar. Raises BadSetting for another form, e.g. one with an anchor: that is edited by hand."""
    match = re.compile(rf"(['\"]?){re.escape(value)}\1").match(text, start)
    if match is None:
        line = text.count("\n", 0, start) + 1
        raise BadSetting(f"{document.file}:{line}: {value} is not written plainly here, edit the file by hand")
    return match.end()


def _offset(text: str, line: int, column: int) -> int:
    starts = [0, *accumulate(map(len, text.splitlines(keepends=True)))]
    return starts[line] + column


def _line_end(text: str, start: int) -> int:
    """The start of the next line."""
    end = text.find("\n", start)
    return len(text) if end < 0 else end + 1


def _insert_line(text: str, number: int, line: str) -> str:
    """A new line before line `number` (from 0), with the line end that the file uses."""
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += newline
    return "".join([*lines[:number], line + newline, *lines[number:]])
