"""The operator's finalizer on pairs and accounts: put on before the object has any effect, taken off when what it caused is withdrawn.

Values and small helpers for withdrawal.py, accounts.py and cleanup.py; what a deletion waits for is decided there.
"""

from datetime import datetime

from tandem.operator.context import Context
from tandem.ports import Manifest

FINALIZER = "tandem.trading/withdraw"
FORCE = "tandem.trading/force-delete"  # annotation; "true" lets a deletion wait for nothing


def is_deleted(read: Manifest) -> bool:
    """Somebody has asked for the object's deletion."""
    return read["metadata"].get("deletionTimestamp") is not None


def has_finalizer(read: Manifest) -> bool:
    """The object waits for this operator before it goes."""
    return FINALIZER in (read["metadata"].get("finalizers") or ())


def is_forced(read: Manifest) -> bool:
    """Somebody wants the object gone whatever is left behind."""
    return (read["metadata"].get("annotations") or {}).get(FORCE) == "true"


def left_s(read: Manifest, timeout_s: float, now_s: float) -> float:
    """How long the deletion may still wait, in seconds; at most 0 when the time is over."""
    return datetime.fromisoformat(read["metadata"]["deletionTimestamp"]).timestamp() + timeout_s - now_s


def hold(context: Context, read: Manifest) -> Manifest:
    """The object with the finalizer on it. Raises Conflict when it has changed since it was read."""
    if has_finalizer(read):
        return read
    return context.patch(read, {"metadata": {"finalizers": [*(read["metadata"].get("finalizers") or ()), FINALIZER]}})


def release(context: Context, read: Manifest) -> None:
    """Take the finalizer off; the object goes, if nobody else holds it."""
    if has_finalizer(read):
        context.patch(read, without(read))


def without(read: Manifest) -> Manifest:
    """The change that takes the finalizer off and leaves others' on."""
    return {"metadata": {"finalizers": [name for name in read["metadata"]["finalizers"] if name != FINALIZER]}}
