"""What the operator knows of the namespace: the newest version of every watched object, in memory.

Fed by the watch (operators/handlers.py), by whole lists at each resync, which also tell of what the watch has missed, and by the answers
to the operator's own writes, in whatever order these come: what is gone stays gone. A look at an object reads from here; what it writes
names the version that it read, so that a look at something old ends in a Conflict and is repeated. Safe to use from many threads.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

from tandem.ports import Manifest

_GONE_MAX = 10_000  # uids of objects that are gone; answers are late by seconds


class Objects:
    """Objects by kind and name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kinds: dict[str, dict[str, Manifest]] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()  # uids, the newest last

    def put(self, manifest: Manifest) -> None:
        """Take over an object, unless a newer version of it is known or it is known to be gone."""
        name = manifest["metadata"]["name"]
        with self._lock:
            if manifest["metadata"].get("uid") in self._gone:  # the answer to a write that came after the news of the deletion
                return
            known = self._kinds.setdefault(manifest["kind"], {})
            if (old := known.get(name)) is None or _number(old) <= _number(manifest):
                known[name] = manifest

    def drop(self, kind: str, name: str, uid: str = "") -> None:
        """Forget an object that is gone; with a uid only that very one, as another may have taken its name."""
        with self._lock:
            known = self._kinds.get(kind, {})
            if uid:
                self._bury(uid)
            if name in known and (not uid or known[name]["metadata"].get("uid") == uid):
                self._bury(known.pop(name)["metadata"].get("uid", ""))

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
                self._bury(known.pop(name)["metadata"].get("uid", ""))
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

    def _bury(self, uid: str) -> None:
        if uid:
            self._gone[uid] = None
        while len(self._gone) > _GONE_MAX:
            self._gone.popitem(last=False)


def _number(manifest: Manifest) -> int:
    """resourceVersion as a number, as Kubernetes 1.35 promises and etcd always had it; any other text is 0 and gives way."""
    text = str(manifest["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdecimal() else 0
