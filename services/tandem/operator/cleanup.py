"""Takes every object of the four kinds out of a namespace, in an order that lets positions close: `python -m tandem.operator.cleanup`.

For the chart's hook before an uninstall that takes the definitions along, while the operator still runs. First the pairs, each by its own
deletionPolicy, while the forecasters still forecast; then the accounts; then the sectors, with everything that belongs to them. What is not
gone in time is forced, and what is not gone then, because no operator runs, loses its finalizer: an uninstall must not hang.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence

import structlog

from tandem import settings as settings_module
from tandem.adapters import telemetry
from tandem.adapters.kubernetes_cluster import KubernetesCluster, connect
from tandem.domain.errors import BadSetting, Permanent, TandemError, Transient
from tandem.operator.finalizers import FORCE, has_finalizer, without
from tandem.ports import Cluster, Manifest
from tandem.rollout.model_rollout import MODEL_ROLLOUT
from tandem.rollout.sector_model import SECTOR_MODEL
from tandem.rollout.trading_account import TRADING_ACCOUNT
from tandem.rollout.trading_pair import TRADING_PAIR

ORDER = (TRADING_PAIR, TRADING_ACCOUNT, SECTOR_MODEL, MODEL_ROLLOUT)
WAIT_S = 900.0  # for the objects of a kind to go by themselves: thrice the default deletionTimeoutSeconds
FORCED_S = 60.0  # for those that are forced
_LOOK_AGAIN_S = 1.0
log = structlog.get_logger()


def clean(cluster: Cluster, *, wait_s: float = WAIT_S, forced_s: float = FORCED_S, look_again_s: float = _LOOK_AGAIN_S) -> bool:
    """Delete everything and wait until it is gone; False if something had to be forced. Raises Permanent, e.g. without the rights."""
    orderly = True
    for kind in ORDER:
        orderly = _clean_kind(cluster, kind, wait_s, forced_s, look_again_s) and orderly
    return orderly


def _clean_kind(cluster: Cluster, kind: str, wait_s: float, forced_s: float, look_again_s: float) -> bool:
    def remaining() -> tuple[Manifest, ...]:
        try:
            return cluster.list(kind)
        except Permanent as error:
            if "does not know this kind" in str(error):  # its definition is gone already
                return ()
            raise

    found = _until_gone(remaining, lambda left: _delete(cluster, left), wait_s, look_again_s)
    if not found:
        return True
    log.warning("forced", kind=kind, names=[one["metadata"]["name"] for one in found])
    if _until_gone(remaining, lambda left: _force(cluster, left), forced_s, look_again_s):
        # No operator does it: a record of a pair may stay in the control topic, which goes with the release or is cleaned by the next one.
        _until_gone(remaining, lambda left: _release(cluster, left), forced_s, look_again_s)
    return False


def _until_gone(
    remaining: Callable[[], tuple[Manifest, ...]], act: Callable[[Sequence[Manifest]], None], limit_s: float, look_again_s: float
) -> tuple[Manifest, ...]:
    """Do this to what is there until nothing is, or the time is over; what is left then. A server that is away is waited for."""
    deadline_s = time.monotonic() + limit_s
    left: tuple[Manifest, ...] = ()
    while True:
        try:
            left = remaining()
            if not left:
                return ()
            act(left)
        except Transient as error:
            log.warning("again", reason=str(error))
        if time.monotonic() > deadline_s:
            return left
        time.sleep(look_again_s)


def _delete(cluster: Cluster, left: Sequence[Manifest]) -> None:
    for one in left:
        if "deletionTimestamp" not in one["metadata"]:
            cluster.delete(one["kind"], one["metadata"]["name"], uid=one["metadata"]["uid"])


def _force(cluster: Cluster, left: Sequence[Manifest]) -> None:
    _delete(cluster, left)
    for one in left:
        if has_finalizer(one) and (one["metadata"].get("annotations") or {}).get(FORCE) != "true":
            cluster.patch(one["kind"], one["metadata"]["name"], {"metadata": {"annotations": {FORCE: "true"}}})


def _release(cluster: Cluster, left: Sequence[Manifest]) -> None:
    _delete(cluster, left)
    for one in left:
        if has_finalizer(one):
            cluster.patch(one["kind"], one["metadata"]["name"], without(one), version=one["metadata"]["resourceVersion"])


def main() -> None:
    """Exit code 0: everything is gone, by force or not; 1: something cannot be deleted; 2: a setting cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m tandem.operator.cleanup", description="Delete all objects of Tandem's kinds.")
    parser.add_argument("--wait-s", type=float, default=WAIT_S, help="for the objects of each kind to go by themselves")
    wait_s = parser.parse_args().wait_s
    try:
        settings = settings_module.load()
        telemetry.configure_logging("cleanup", settings.log_level)
        if not settings.namespace:
            raise BadSetting("not set: TANDEM_NAMESPACE")
        orderly = clean(KubernetesCluster(connect(), settings.namespace), wait_s=wait_s)
        log.info("clean", namespace=settings.namespace, orderly=orderly)
    except BadSetting as error:
        print(f"tandem cleanup: {error}", file=sys.stderr)
        sys.exit(2)
    except TandemError as error:
        print(f"tandem cleanup: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
