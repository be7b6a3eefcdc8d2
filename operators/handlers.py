"""What kopf runs: `kopf run --standalone --namespace NAMESPACE --liveness http://0.0.0.0:8081/healthz operators/handlers.py`.

kopf watches; the operator in tandem.operator does everything else. Each handler hands on what it was told and returns: nothing here blocks,
decides or writes, and no finalizer or annotation of kopf's is put on any object.
"""

import logging
import os
import signal
import sys
from typing import Any

import kopf

from tandem import settings as settings_module
from tandem.adapters import telemetry
from tandem.domain.errors import BadSetting
from tandem.operator.process import SERVICE, Operator
from tandem.rollout.labels import MANAGED_BY, MANAGER
from tandem.rollout.resources import GROUP, VERSION

_STOP_S = 20.0  # within the pod's grace period


@kopf.on.startup()
def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    """Read the settings, start the operator's threads. Exit code 2: a setting cannot be used."""
    settings.posting.enabled = False  # Events are the operator's own, with fixed reasons
    settings.peering.standalone = True  # one writer by a Lease, not by peering
    settings.scanning.disabled = True  # one namespace, four kinds, all known: no right on anything outside of the namespace is needed
    settings.process.ultimate_exiting_timeout = _STOP_S
    try:
        own = settings_module.load()
        telemetry.configure_logging(SERVICE, own.log_level)
        logging.getLogger().setLevel(logging.WARNING)  # kopf tells of each event, Kafka's client of each connection
        if "operator" not in memo:  # who embeds kopf may bring one
            memo.operator = Operator(own, on_broken=lambda: os.kill(os.getpid(), signal.SIGTERM))
        memo.operator.start()
    except BadSetting as error:
        print(f"tandem {SERVICE}: {error}", file=sys.stderr, flush=True)
        os._exit(2)  # kopf would take an exception for a reason to try again


@kopf.on.cleanup()
def stop(memo: kopf.Memo, **_: Any) -> None:
    """On SIGTERM: finish what is in hand."""
    if "operator" in memo:
        memo.operator.stop()


@kopf.on.event(GROUP, VERSION, kopf.EVERYTHING)
async def resource(memo: kopf.Memo, type: str | None, body: kopf.Body, **_: Any) -> None:
    """One of the four kinds was listed, has changed or is gone."""
    memo.operator.seen(type, dict(body))


@kopf.on.event("apps", "v1", "deployments", labels={MANAGED_BY: MANAGER})
async def deployment(memo: kopf.Memo, type: str | None, body: kopf.Body, **_: Any) -> None:
    """A forecaster's Deployment was listed, has changed or is gone."""
    memo.operator.seen(type, dict(body))
