"""The last line of defence for secrets: whatever is written to stderr passes here, and the values that settings hold are blotted out.

No code means to log a secret; a library's message, a URL in an error or a traceback might. Settings register their secrets when they are
read. A value that is short or a plain word is not registered: it protects nothing, and blotting it out would garble every line.
"""

import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote, unquote, urlsplit

BLOT = "[hidden]"
_LENGTH_MIN = 8
_PEM = "-----BEGIN "
_WORD = re.compile(r"[a-z]+")
_HIDDEN: set[str] = set()


def hide(values: Iterable[str]) -> None:
    """Register secrets. Of a URL only the password is one; it is known in both forms, quoted for the URL and not."""
    for value in values:
        secret = (urlsplit(value).password or "") if "://" in value else value
        for form in (secret, unquote(secret), quote(unquote(secret), safe="")):
            if len(form) >= _LENGTH_MIN and not _WORD.fullmatch(form):
                _HIDDEN.add(form)


def pem_file(value: str) -> str:
    """The path of a PEM: the value itself, or, when it is the text, a file of ours that nobody else may read.

    A container gets a certificate from a Secret as a variable, the libraries want a file. It is written anew by each process: a file that
    somebody else has put there is replaced, or the process ends because it cannot be.
    """
    if not value.lstrip().startswith(_PEM):
        return value
    path = Path(tempfile.gettempdir()) / f"tandem-{hashlib.sha256(value.encode()).hexdigest()[:16]}-{os.getuid()}.pem"
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=".tandem-")  # mode 0600
    with os.fdopen(handle, "w") as file:
        file.write(value)
    Path(partial).replace(path)
    return str(path)


def blotted(text: str) -> str:
    """The text without any registered secret."""
    for secret in _HIDDEN:
        if secret in text:
            text = text.replace(secret, BLOT)
    return text


class Guarded:
    """A text stream that writes no registered secret. Everything else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text without secrets; the length that was asked for, as writers expect."""
        self._stream.write(blotted(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Each of the lines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def guard_stderr() -> None:
    """Let nothing pass to stderr but through here; done once."""
    if not isinstance(sys.stderr, Guarded):
        sys.stderr = Guarded(sys.stderr)
