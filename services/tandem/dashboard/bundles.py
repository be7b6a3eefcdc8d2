"""The browser's code: of Plotly's what is drawn with, kept compressed in memory, and named with the page that needs it.

Streamlit reads each file from its disk for each reader, sends it as it is (ten megabytes for a first visit), and lets the browser ask for
the code of charts when it is sent the first chart. Named with the page, it comes and is made ready while Streamlit begins.
"""

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import streamlit
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tandem.dashboard.plotly_code import trimmed

STATIC = Path(streamlit.__file__).parent / "static"
_ENTRY = "index.html"
_CHART, _TABLE = "/PlotlyChart.tsx", "/ReadOnlyGrid.tsx"
_CHARTED = ("/", "/pairs", "/portfolio", "/models", "/data", "/companies")  # what sorts and searches rows comes when a reader asks for it
_NAMED_BYTES_MIN = 100_000  # smaller ones would take the browser's few connections from what it needs first
_TYPES = {".js": "text/javascript", ".css": "text/css"}
_LEVEL = 6  # above it, half the time more for a hundredth of the size
_HEADERS = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
_KEPT = "public, immutable, max-age=31536000"  # by browsers: a name tells a content
_KEPT_TRIMMED = "public, max-age=604800"  # where it does not: which kinds of trace are drawn may be others after a week


class Bundles:
    """Middleware before Streamlit: sends the code that pages draw with, and adds to a page which of it will be needed."""

    def __init__(self, app: ASGIApp, static: Path = STATIC) -> None:
        self._app = app
        files = _files(static)
        held = {name for names in files.values() for name in names}
        self._packed = {f"/{name}": _packed(static / name) for name in held}
        first = set(files.get(_ENTRY, ()))
        self._links = dict.fromkeys(_CHARTED, _links(static, [name for name in files.get(_CHART, ()) if name not in first]))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        path = scope["path"] if scope["type"] == "http" and scope["method"] == "GET" else ""
        packed, link = self._packed.get(path), self._links.get(path, "")
        if packed is not None and "gzip" in Headers(scope=scope).get("Accept-Encoding", ""):
            content, kept = packed
            headers = {**_HEADERS, "Cache-Control": kept}
            await Response(content, media_type=_TYPES[Path(path).suffix], headers=headers)(scope, receive, send)
            return

        async def naming(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                MutableHeaders(scope=message).append("Link", link)
            await send(message)

        await self._app(scope, receive, naming if link else send)


def _packed(file: Path) -> tuple[bytes, str]:
    """What is sent for a file, and how long a browser may keep it."""
    as_it_is = file.read_bytes()
    sent = trimmed(as_it_is) if file.suffix == ".js" else as_it_is
    return gzip.compress(sent, _LEVEL), _KEPT if sent == as_it_is else _KEPT_TRIMMED


def _files(static: Path) -> dict[str, list[str]]:
    """What the entry, a chart and a table that sorts consist of; nothing where Streamlit's list of its files cannot be read."""
    try:
        manifest = json.loads((static / "manifest.json").read_text())
        found = {}
        for name in (_ENTRY, _CHART, _TABLE):
            keys = [each for key in manifest if key.endswith(name) for each in _imported(manifest, key)]
            files = (manifest[key]["file"] for key in dict.fromkeys(keys))
            found[name] = [file for file in files if Path(file).suffix in _TYPES and (static / file).is_file()]
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _imported(manifest: Mapping[str, Any], key: str, seen: set[str] | None = None) -> Iterator[str]:
    """A file and all that it imports, each once."""
    seen = set() if seen is None else seen
    if key not in seen:
        seen.add(key)
        yield key
        for each in manifest[key].get("imports", ()):
            yield from _imported(manifest, each, seen)


def _links(static: Path, names: list[str]) -> str:
    large = [name for name in dict.fromkeys(names) if (static / name).stat().st_size >= _NAMED_BYTES_MIN]
    return ", ".join(f"<./{name}>; rel=modulepreload; as=script; crossorigin" for name in large)
