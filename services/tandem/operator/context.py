"""What every reconcile of the operator works with, and the one way in which a reconcile reports what it found.

Values and small helpers; process.py makes the one Context of a process. Reconciles read objects from `objects`, write through `cluster`
(refused without the lease) and `control` (the same), tell people through `events`, and ask for another look through `wake`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tandem.operator.control import ControlTopic
from tandem.operator.events import Events
from tandem.operator.objects import Objects
from tandem.operator.queue import WorkQueue
from tandem.ports import Cluster, Conflict, Manifest
from tandem.settings import Settings


class Wake(Protocol):
    """Asks for a look at an object."""

    def __call__(self, kind: str, name: str, *, after_s: float = 0.0) -> None:
        """At the latest in so many seconds."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The world as reconciles see it."""

    settings: Settings
    namespace: str
    cluster: Cluster
    objects: Objects
    control: ControlTopic
    events: Events
    wake: Wake
    now_s: Callable[[], float]  # Unix time

    def write_status(self, read: Manifest, status: Mapping[str, Any]) -> Manifest:
        """Bring the status of an object that was read to this; nothing is written where it says so already.

        A value of None removes the field. Raises Conflict when the object has changed since it was read.
        """
        old = read.get("status") or {}
        changes = {key: value for key, value in status.items() if old.get(key) != value}
        if not changes:
            return read
        return self._keep(read, lambda kind, name, version: self.cluster.patch_status(kind, name, changes, version=version))

    def patch(self, read: Manifest, changes: Manifest) -> Manifest:
        """JSON merge patch of an object that was read. Raises Conflict when it has changed since."""
        return self._keep(read, lambda kind, name, version: self.cluster.patch(kind, name, changes, version=version))

    def _keep(self, read: Manifest, write: Callable[[str, str, str], Manifest]) -> Manifest:
        kind, metadata = read["kind"], read["metadata"]
        try:
            written = write(kind, metadata["name"], metadata["resourceVersion"])
        except Conflict:
            self.refresh(kind, metadata["name"], metadata.get("uid", ""))
            raise
        self.objects.put(written)
        return written

    def refresh(self, kind: str, name: str, uid: str = "") -> None:
        """Read an object anew, because what is known of it is too old."""
        if (found := self.cluster.get(kind, name)) is None:
            self.objects.drop(kind, name, uid)
        else:
            self.objects.put(found)


class Part(Protocol):
    """What one part of the operator adds: reconciles, and who is to look when something has changed. process.py knows them all."""

    def register(self, queue: WorkQueue) -> None:
        """Say who looks at which kinds."""
        ...

    def concerned(self, manifest: Manifest) -> Iterable[tuple[str, str]]:
        """Kind and name of the other objects of this part that are to be looked at when this object, of any watched kind, has changed."""
        ...

    def told(self, key: str) -> Iterable[tuple[str, str]]:
        """Kind and name of the objects of this part that are to be looked at when this key of the control topic has changed."""
        ...

    def resync(self) -> None:
        """After everything was listed anew, under the lease: what no single object's look would find. Raises TandemError."""
        ...

    def stop(self) -> None:
        """End what runs on its own; no look follows."""
        ...
