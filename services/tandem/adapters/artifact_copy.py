"""MLflow's artifacts to a folder and back, through the server's own proxy: the same for one on this machine and one in a cluster.

The interface is that of `mlflow-artifacts:/`, which the server serves where it proxies artifacts. Called by cli/backup.py and
cli/restore.py.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from tandem.domain.errors import Permanent, Transient

_BASE = "/api/2.0/mlflow-artifacts/artifacts"
_TIMEOUT_S = 120.0  # of one file; a bundle is a few MB
_DEPTH_MAX = 32


class Artifacts:
    """The artifacts of one server. Use as a context manager. Raises Transient when it does not answer, Permanent when it refuses."""

    def __init__(self, tracking_uri: str) -> None:
        self._uri = tracking_uri.rstrip("/")
        self._client = httpx.Client(timeout=_TIMEOUT_S, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()

    def save(self, folder: Path) -> int:
        """Write every artifact below the folder. Returns how many there are."""
        count = 0
        for path in self._walk("", 0):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self._ask("GET", f"{_BASE}/{quote(path)}").content)
            count += 1
        return count

    def restore(self, folder: Path) -> int:
        """Send every file below the folder. Returns how many there are."""
        files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
        for file in files:
            self._ask("PUT", f"{_BASE}/{quote(file.relative_to(folder).as_posix())}", content=file.read_bytes())
        return len(files)

    def _walk(self, path: str, depth: int) -> Iterator[str]:
        if depth > _DEPTH_MAX:
            raise Permanent(f"{self._uri}: artifacts lie {depth} folders deep, at most {_DEPTH_MAX} are followed")
        listed: dict[str, Any] = self._ask("GET", _BASE, params={"path": path} if path else {}).json()
        for row in listed.get("files", ()):
            name = PurePosixPath(str(row["path"])).name
            if name in {"", ".", ".."}:
                raise Permanent(f"{self._uri}: an artifact is called {row['path']!r}")
            inner = f"{path}/{name}" if path else name
            if row.get("is_dir"):
                yield from self._walk(inner, depth + 1)
            else:
                yield inner

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        url = f"{self._uri}{path}"
        try:
            answer = self._client.request(method, url, **more)
        except httpx.HTTPError as error:
            raise Transient(f"{url}: {error or type(error).__name__}") from error
        if answer.is_server_error:
            raise Transient(f"{url} answers {answer.status_code}: {answer.text[:200]}")
        if not answer.is_success:
            raise Permanent(f"{url} answers {answer.status_code}: {answer.text[:200]}")
        return answer
