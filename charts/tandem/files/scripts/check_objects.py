"""A test of an installed release: `python check_objects.py NAMESPACE`, with the operator's rights. Nothing is stored: all requests are dry.

Prints one line for each check; exit code 1 when one failed.
"""

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

LEASE, LEASE_AGE_S_MAX, WAIT_S = "tandem-operator", 60.0, 90.0
GROUP, VERSION, PLURAL = "tandem.trading", "v1alpha1", "tradingpairs"


def pair(**spec: Any) -> dict[str, Any]:
    """A TradingPair of KO and PEP, with some fields of the spec replaced."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "TradingPair",
        "metadata": {"generateName": "helm-test-"},
        "spec": {"sector": "consumer", "legs": ["KO", "PEP"], **spec},
    }


def accepted(namespace: str) -> str:
    """A good one is taken."""
    create(namespace, pair())
    return "a TradingPair would be taken"


def refused(namespace: str) -> str:
    """One whose legs do not differ is refused."""
    try:
        create(namespace, pair(legs=["KO", "KO"]))
    except ApiException as error:
        if error.status == 422:
            return f"a TradingPair of KO and KO is refused: {error.reason}"
        raise
    raise RuntimeError("a TradingPair of KO and KO was taken")


def create(namespace: str, body: dict[str, Any]) -> None:
    """Create without storing."""
    client.CustomObjectsApi().create_namespaced_custom_object(
        GROUP, VERSION, namespace, PLURAL, body, dry_run="All", field_validation="Strict"
    )


def led(namespace: str) -> str:
    """Somebody holds the Lease, and has renewed it lately."""
    spec = client.CoordinationV1Api().read_namespaced_lease(LEASE, namespace).spec
    if not spec.holder_identity:
        raise RuntimeError(f"nobody holds the Lease {LEASE}")
    age_s = (datetime.now(UTC) - spec.renew_time).total_seconds()
    if age_s > LEASE_AGE_S_MAX:
        raise RuntimeError(f"{spec.holder_identity} renewed the Lease {LEASE} {age_s:.0f} s ago, must be {LEASE_AGE_S_MAX:.0f} s at most")
    return f"{spec.holder_identity} holds the Lease"


def passes(check: Callable[[str], str], namespace: str, deadline_s: float) -> bool:
    """Whether a check passes before the deadline; it is tried again until then."""
    while True:
        try:
            print(f"ok    {check(namespace)}", flush=True)
            return True
        except Exception as error:  # noqa: BLE001  whatever it is, it is told
            if time.monotonic() > deadline_s:
                print(f"FAIL  {check.__name__}: {type(error).__name__}: {error}", flush=True)
                return False
        time.sleep(2)


def main(namespace: str) -> int:
    """All checks; 1 if one failed."""
    config.load_incluster_config()
    deadline_s = time.monotonic() + WAIT_S
    passed = [passes(check, namespace, deadline_s) for check in (accepted, refused, led)]  # all of them, also after one that failed
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
