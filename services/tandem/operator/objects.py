"""What the operator knows of the namespace: the newest version of every watched object, in memory.

Fed by the watch (operators/handlers.py), by whole lists at each resync, which also tell of what the watch has missed, and by the answers
to the operator's own writes. A look at an object reads from here; what it writes names the version that it read, so that a look at
something old ends in a Conflict and is repeated. Safe to use from many threads.
"""

import threading
from collections.abc import Callable, Iterable

from tandem.ports import Manifest


class Objects:
    """Objects by kind and name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kinds: dict[str, dict[str, Manifest]] = {}

    def put(self, manifest: Manifest) -> None:
        """Take over an object, unless a newer version of it is known."""
        name = manifest["metadata"]["name"]
        with self._lock:
            known = self._kinds.setdefault(manifest["kind"], {})
            if (old := known.get(name)) is None or _number(old) <= _number(manifest):
                known[name] = manifest

    def drop(self, kind: str, name: str, uid: str = "") -> None:
        """Forget an object that is gone; with a uid only that very one, as another may have taken its name."""
        with self._lock:
            known = self._kinds.get(kind, {})
            if name in known and (not uid or known[name]["metadata"].get("uid") == uid):
                del known[name]

    def relist(self, kind: str, fetch: Callable[[], Iterable[Manifest]]) -> frozenset[str]:
        """Take over a fresh list of all objects of a kind. Returns the names that were known and are gone.

        What the watch told while the list was fetched is newer than the list, and stays.
        """
        with self._lock:
            before = dict(self._kinds.get(kind, {}))
        listed = {manifest["metadata"]["name"]: manifest for manifest in fetch()}
        with self._lock:
            known = self._kinds.setdefault(kind, {})
            gone = frozenset(name for name, old in before.items() if name not in listed and known.get(name) is old)
            for name in gone:
                del known[name]
        for manifest in listed.values():
            self.put(manifest)
        return gone

    def get(self, kind: str, name: str) -> Manifest | None:
        """The object; None if none is known. Not to be changed."""
        with self._lock:
            return self._kinds.get(kind, {}).get(name)

    def all(self, kind: str) -> tuple[Manifest, ...]:
        """All objects of a kind, in order of name. Not to be changed."""
        with self._lock:
            return tuple(manifest for _, manifest in sorted(self._kinds.get(kind, {}).items()))


def _number(manifest: Manifest) -> int:
    """resourceVersion as a number, as Kubernetes 1.35 promises and etcd always had it; any other text is 0 and gives way."""
    text = str(manifest["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdecimal() else 0
