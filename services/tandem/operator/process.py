"""The operator's composition root: settings in, one Operator out. operators/handlers.py starts it inside kopf's process.

kopf watches and calls `seen`; everything that blocks happens in threads of ours: the queue's lanes, the lease, the control topic, Events,
the resync. Nothing runs on kopf's event loop but putting names into the queue.

Under the lease the operator works; without it, it watches and keeps what it knows up to date, so that it can take over at once. Taking over
begins with a list of everything: whatever the one before has left undone is found there.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import structlog
from kubernetes.client import ApiClient
from starlette.applications import Starlette

from tandem.adapters import telemetry
from tandem.adapters.kubernetes_cluster import KubernetesCluster, connect
from tandem.adapters.open_positions import OpenPositions
from tandem.adapters.registry_rest import Registry
from tandem.domain.errors import BadSetting, Permanent, TandemError
from tandem.operator import events as events_module
from tandem.operator.accounts import Accounts
from tandem.operator.context import Context, Part
from tandem.operator.control import ControlTopic
from tandem.operator.events import Events
from tandem.operator.lease import NAME as LEASE_NAME
from tandem.operator.lease import GuardedCluster, Lease, Times
from tandem.operator.live_pairs import LivePairs
from tandem.operator.objects import Objects
from tandem.operator.pairs import Pairs
from tandem.operator.queue import WorkQueue
from tandem.operator.sector_part import build_sectors
from tandem.operator.sectors import EVENT_REASONS, Sectors
from tandem.operator.webhook import webhook_route
from tandem.ports import Manifest
from tandem.rollout.labels import MANAGED_BY, MANAGER
from tandem.rollout.model_rollout import MODEL_ROLLOUT
from tandem.rollout.sector_model import SECTOR_MODEL
from tandem.rollout.trading_account import TRADING_ACCOUNT
from tandem.rollout.trading_pair import TRADING_PAIR
from tandem.settings import Settings

SERVICE = "operator"
DEPLOYMENT = "Deployment"
WATCHED = (TRADING_ACCOUNT, TRADING_PAIR, SECTOR_MODEL, MODEL_ROLLOUT, DEPLOYMENT)
RESYNC_S = 300.0  # a watch that has lost something without a word is made good after so long
_RESYNC_RETRY_S = 2.0  # while nothing can be done without it
_RESYNC_AGAIN_S = 30.0  # where only a part of it has failed, e.g. because Postgres is away
_SETTLE_S = 10.0  # for the control topic to be read, or found to be out of reach, before the first looks
_SPREAD_S = 5.0  # of the looks after a resync; after taking over they begin at once
_MEASURE_S = 10.0  # gauges
log = structlog.get_logger()


class Operator:
    """Everything wired together."""

    def __init__(
        self,
        settings: Settings,
        *,
        client: ApiClient | None = None,
        times: Times | None = None,
        on_broken: Callable[[], None] | None = None,
    ) -> None:
        """on_broken: called when the process must end, because something that cannot be is. Raises BadSetting."""
        _check(settings)
        self._cleanup = ExitStack()
        api = client or connect()
        cluster = KubernetesCluster(api, settings.namespace)
        identity = settings.identity or f"{socket.gethostname()}-{os.getpid()}"
        self.lease = Lease(cluster, identity, on_change=self._lease_changed, times=times)
        guarded = GuardedCluster(cluster, self.lease.check)
        self._cluster, self._broken = cluster, on_broken or (lambda: None)
        self.queue = WorkQueue(on_broken=lambda _: self._broken())
        self._objects = Objects()
        self._events = Events(guarded, settings.namespace, reporter=identity, reasons=events_module.REASONS | EVENT_REASONS)
        self._control = ControlTopic(settings.kafka_bootstrap_servers, check=self.lease.check, on_change=self._control_changed)
        self.context = Context(
            settings=settings,
            namespace=settings.namespace,
            cluster=guarded,
            objects=self._objects,
            control=self._control,
            events=self._events,
            wake=self.queue.add,
            now_s=time.time,
        )
        self._parts = self._build(settings)
        for part in self._parts:
            part.register(self.queue)
        self._stopping, self._resync_wanted = threading.Event(), threading.Event()
        self._synced = False
        self._away_from_s: float | None = None  # since when the API server has not answered, Unix time
        self._threads = [threading.Thread(target=run, name=run.__name__, daemon=True) for run in (self._resyncs, self._measures)]
        self._http = telemetry.HttpThread(self._app(), settings.host, settings.port) if settings.port else None

    def start(self) -> None:
        """Begin. Returns at once; what is away is waited for in the background."""
        if self._http is not None:
            self._http.start()
        self.queue.start()
        self._events.start()
        self._control.start()
        for thread in self._threads:
            thread.start()
        self.lease.start()

    def stop(self) -> None:
        """Finish what is in hand, give the lease back."""
        self._stopping.set()
        self._resync_wanted.set()
        self.queue.pause()
        if not self.queue.stop():
            log.warning("look_not_finished")
        for part in self._parts:
            part.stop()
        self._control.stop()
        self._events.stop()
        self.lease.stop()
        self._cleanup.close()
        if self._http is not None:
            self._http.stop()
        log.info("stopped")

    def seen(self, change: str | None, manifest: Manifest) -> None:
        """What the watch tells: an object is there, has changed, or (DELETED) is gone. Never blocks."""
        kind, metadata = manifest["kind"], manifest["metadata"]
        if change == "DELETED":
            self._objects.drop(kind, metadata["name"], metadata.get("uid", ""))
        else:
            self._objects.put(manifest)
        self.queue.add(kind, metadata["name"])
        for part in self._parts:
            self._wake(part.concerned(manifest))

    def why_not_ready(self) -> str | None:
        """None while the API server answers and this operator works or stands by."""
        if self.lease.trouble is not None:
            return self.lease.trouble
        return "taking over" if self.lease.held and not self._synced else None

    def _build(self, settings: Settings) -> tuple[Part, ...]:
        registry = Registry(settings.mlflow_tracking_uri)
        self._cleanup.callback(registry.close)
        positions = OpenPositions(settings.postgres_url.get_secret_value())
        self._sectors: Sectors = build_sectors(self.context, registry)
        return Pairs(self.context, positions, LivePairs(registry)), Accounts(self.context, positions), self._sectors

    def _app(self) -> Starlette:
        app = telemetry.health_app("operator", self.why_not_ready)
        secret = self.context.settings.webhook_secret.get_secret_value()
        app.router.routes.extend(webhook_route(secret, lambda model: self._wake(self._sectors.named(model))))
        return app

    def _wake(self, names: Iterable[tuple[str, str]]) -> None:
        for kind, name in names:
            self.queue.add(kind, name)

    def _lease_changed(self, held: bool) -> None:
        if held:
            self._resync_wanted.set()
        else:
            self._synced = False
            self.queue.pause()
            if self.lease.trouble is not None:
                self._away_from_s = time.time() - self.lease.times.renewal_deadline_s

    def _control_changed(self, key: str | None) -> None:
        """In the control topic's thread: one key, or, after trouble, perhaps all of them."""
        if key is None:
            for kind in (TRADING_PAIR, TRADING_ACCOUNT, SECTOR_MODEL):
                self.queue.add_all(kind, (manifest["metadata"]["name"] for manifest in self._objects.all(kind)))
            self._resync_wanted.set()
            return
        for part in self._parts:
            self._wake(part.told(key))

    def _resyncs(self) -> None:
        """List everything anew: after taking over, and now and then; soon again where that has failed."""
        is_done = True
        while not self._stopping.is_set():
            pause_s = RESYNC_S if is_done or not self.lease.held else _RESYNC_AGAIN_S
            self._resync_wanted.wait(_RESYNC_RETRY_S if self.lease.held and not self._synced else pause_s)
            self._resync_wanted.clear()
            if self._stopping.is_set() or not self.lease.held:
                continue
            is_done = False
            try:
                self._resync()
                is_done = True
            except Permanent as error:  # a definition or a right is missing, which the watch has not got either: a restart asks again
                log.error("resync_refused", reason=str(error))
                self._broken()
            except TandemError as error:
                log.warning("resync_failed", reason=str(error))

    def _resync(self) -> None:
        """Raises TandemError."""
        gone = {kind: self._objects.relist(kind, partial(self._listed, kind)) for kind in WATCHED}
        for kind in WATCHED:
            names = {manifest["metadata"]["name"] for manifest in self._objects.all(kind)} | gone[kind]
            self.queue.add_all(kind, sorted(names), spread_s=_SPREAD_S if self._synced else 0.0)
        if not self._synced:
            self._control.settled.wait(_SETTLE_S)  # else every pair would say for a moment that Kafka is away
            self._synced = True
            self.queue.resume()
            log.info("working", **{kind: len(self._objects.all(kind)) for kind in WATCHED})
        self._tell_outage()
        if self._control.trouble is None:
            for part in self._parts:
                part.resync()

    def _tell_outage(self) -> None:
        """An Event on the Lease, afterwards: meanwhile there was nobody to tell."""
        if self._away_from_s is None:
            return
        lease = self._cluster.get("Lease", LEASE_NAME)  # where this fails, the next resync tells it
        from_s, self._away_from_s = self._away_from_s, None
        if lease is not None:
            message = (
                f"the API server did not answer for about {time.time() - from_s:.0f} s; the services went on with what they were told "
                "before, and every object is looked at again now"
            )
            self._events.tell(lease, "Warning", "ApiServerWasAway", message)

    def _listed(self, kind: str) -> Iterable[Manifest]:
        return self._cluster.list(kind, {MANAGED_BY: MANAGER} if kind == DEPLOYMENT else None)

    def _measures(self) -> None:
        """The gauges that nobody sets in passing."""
        while not self._stopping.wait(_MEASURE_S):
            for kind in WATCHED:
                known = self._objects.all(kind)
                telemetry.gauge("operator_objects").labels(kind=kind).set(len(known))
                if kind not in {DEPLOYMENT, MODEL_ROLLOUT}:
                    telemetry.gauge("operator_not_ready").labels(kind=kind).set(sum(not _is_ready(manifest) for manifest in known))
            for kind in self.queue.kinds:
                telemetry.gauge("operator_queue_waiting").labels(kind=kind).set(self.queue.waiting(kind))
            if not self.lease.held:
                self._sectors.stand_down()


def _is_ready(manifest: Manifest) -> bool:
    conditions = (manifest.get("status") or {}).get("conditions") or ()
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _check(settings: Settings) -> None:
    """Raises BadSetting with everything that is missing."""
    wanted = {
        "TANDEM_NAMESPACE": settings.namespace,
        "TANDEM_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "TANDEM_POSTGRES_URL": settings.postgres_url.get_secret_value(),
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
        "TANDEM_FORECASTER_TEMPLATE": settings.forecaster_template not in {None, Path()},
    }
    if missing := [name for name, value in wanted.items() if not value]:
        raise BadSetting(f"not set: {', '.join(missing)}")
