"""YAML files with the line of every value, and their atomic replacement. Through ruamel.yaml.

Knows nothing of what the documents mean (config_files.py) nor how to change one (yaml_edit.py).
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from tandem.domain.errors import BadSetting


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One YAML document: where it came from and its root, a mapping that knows its lines."""

    file: str
    root: CommentedMap

    def at(self, *path: str | int) -> str:
        """Where the value at a path stands, as "file:line"; the nearest parent when it is missing."""
        node: Any = self.root
        line = node.lc.line
        for step in path:
            if isinstance(node, CommentedMap) and step in node:
                line, node = node.lc.key(step)[0], node[step]
            elif isinstance(node, CommentedSeq) and isinstance(step, int) and step < len(node):
                line, node = node.lc.item(step)[0], node[step]
            else:
                break
        return f"{self.file}:{(line or 0) + 1}"

    def plain(self) -> Any:
        """The document in plain lists, dicts and scalars."""
        return _plain(self.root)


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    if isinstance(node, bool):
        return node
    return next((kind(node) for kind in (str, int, float) if isinstance(node, kind)), node)


def read_documents(file: str, text: str, *, as_kubectl: bool = False) -> tuple[Document, ...]:
    """All documents of a YAML text; empty ones are left out. Raises BadSetting with the line of what cannot be read.

    as_kubectl: read plain words as kubectl does (YAML 1.1: ON, Y and NO are booleans), so that both refuse the same files.
    """
    yaml = YAML()
    if as_kubectl:
        yaml.version = (1, 1)
    roots = _parse(yaml, file, text)
    for root in roots:
        if root is not None and not isinstance(root, CommentedMap):
            raise BadSetting(f"{file}: a document is a {type(root).__name__}, must be a mapping of keys to values")
    return tuple(Document(file=file, root=root) for root in roots if root is not None)


def read_items(file: str, text: str) -> tuple[tuple[str, Any], ...]:
    """The items of a text that is one YAML list, each with its place "file:line". Raises BadSetting."""
    roots = [root for root in _parse(YAML(), file, text) if root is not None]
    if len(roots) > 1 or (roots and not isinstance(roots[0], CommentedSeq)):
        raise BadSetting(f"{file}: found {len(roots)} documents or no list, must be one list")
    return tuple((f"{file}:{(roots[0].lc.item(i)[0] or 0) + 1}", _plain(item)) for i, item in enumerate(roots[0])) if roots else ()


def read_text(path: Path) -> str:
    """The file as UTF-8. Raises BadSetting if it is missing or cannot be read."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:  # line ends as they are, so that an edit keeps them
            return stream.read()
    except FileNotFoundError as error:
        raise BadSetting(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path}: cannot be read: {error}") from error


def write_atomically(path: Path, text: str) -> None:
    """Write to a temporary file beside the target and rename it, keeping the target's mode. Raises BadSetting."""
    path = path.resolve()  # a link keeps pointing at the file
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).chmod(mode)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise BadSetting(f"{path}: cannot be written: {error}") from error


def _parse(yaml: YAML, file: str, text: str) -> list[Any]:
    try:
        return list(yaml.load_all(text))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadSetting(f"{file}:{line}: not readable as YAML: {error.problem or error.context}") from error
    except YAMLError as error:
        raise BadSetting(f"{file}: not readable as YAML: {error}") from error
