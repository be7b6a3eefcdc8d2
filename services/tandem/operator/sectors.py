"""Looks after SectorModels: gather, decide, carry out, tell. The reconcile of the kind SectorModel in the operator's queue.

A look is always the same, whatever caused it: a changed resource, a Deployment that became ready, a webhook, or time. That a version is
new, or an alias has moved, is found by looking every few seconds (POLL_S): a lost event delays, it never loses.
"""

import random
from collections.abc import Iterable
from dataclasses import replace

from tandem.domain.errors import Permanent, TandemError, Transient
from tandem.operator.decide import Begin, Continue, Decision, GiveWay, Rest, decide
from tandem.operator.gather import Sources, gather
from tandem.operator.queue import WorkQueue
from tandem.operator.replays import ReplayRuns
from tandem.operator.rollouts import Looked, Rollouts, found_deployments
from tandem.operator.sector_measures import SectorMeasures
from tandem.operator.sector_status import REASONS, Look, news, status_of
from tandem.operator.upkeep import Upkeep
from tandem.operator.view import Rollout, View, shape_of
from tandem.ports import Conflict, Manifest
from tandem.quant.bundle import model_name
from tandem.rollout.deployment import ForecasterTemplate
from tandem.rollout.labels import MODEL_VERSION
from tandem.rollout.manifests import sector_objects, unwanted_objects
from tandem.rollout.plan import REASONS as PLANNER_REASONS
from tandem.rollout.sector_model import SECTOR_MODEL
from tandem.rollout.sector_shape import SectorShape

POLL_S = (5.0, 15.0)  # between looks at a sector where nothing happens, by chance within: sectors do not ask the registry together
ROLLOUT_POLL_S = 3.0  # while a rollout runs: a verdict that is there should not wait
WORKERS = 4  # mostly waiting for the registry and the API server
EVENT_REASONS = REASONS | frozenset(PLANNER_REASONS)  # all that this module and what it calls may tell


class Sectors:
    """The reconcile, see queue.py."""

    def __init__(self, sources: Sources, template: ForecasterTemplate, replays: ReplayRuns) -> None:
        self._sources, self._template, self._replays = sources, template, replays
        self._upkeep = Upkeep(sources.context.cluster, applied=sources.context.objects.put)
        self._rollouts = Rollouts(sources, self._upkeep, replays)
        self._measures = SectorMeasures()

    def register(self, queue: WorkQueue) -> None:
        """SectorModels, a few at once: a look waits for the registry."""
        queue.register(SECTOR_MODEL, self.reconcile, workers=WORKERS)

    def concerned(self, manifest: Manifest) -> Iterable[tuple[str, str]]:
        """The SectorModel that owns a rollout or a Deployment, and those of the same sector: which of them counts may have changed."""
        for owner in manifest["metadata"].get("ownerReferences") or ():
            if owner.get("kind") == SECTOR_MODEL:
                yield SECTOR_MODEL, str(owner["name"])
        if manifest["kind"] == SECTOR_MODEL:
            sector = (manifest.get("spec") or {}).get("sector")
            yield from ((SECTOR_MODEL, name) for name in self._of_sector(sector) if name != manifest["metadata"]["name"])

    def told(self, key: str) -> Iterable[tuple[str, str]]:
        """A sector's pointer has moved by another hand."""
        scope, _, sector = key.partition("/")
        if scope == "routing":
            yield from ((SECTOR_MODEL, name) for name in self._of_sector(sector))

    def named(self, model: str) -> Iterable[tuple[str, str]]:
        """The SectorModels of a registered model; all of them when it is not one of ours."""
        found = [other for other in self._models() if model_name((other.get("spec") or {}).get("sector", "")) == model]
        yield from ((SECTOR_MODEL, str(other["metadata"]["name"])) for other in found or self._models())

    def resync(self) -> None:
        """Nothing: whatever belongs to a SectorModel that is gone goes with it."""

    def stop(self) -> None:
        """End what runs beside the looks."""
        self._replays.stop()

    def stand_down(self) -> None:
        """Another process leads: it tells how the sectors fare."""
        self._measures.forget()

    def _models(self) -> tuple[Manifest, ...]:
        return self._sources.context.objects.all(SECTOR_MODEL)

    def _of_sector(self, sector: object) -> tuple[str, ...]:
        return tuple(str(other["metadata"]["name"]) for other in self._models() if (other.get("spec") or {}).get("sector") == sector)

    def reconcile(self, name: str) -> float | None:
        """One look at the SectorModel of this name; the seconds to the next one."""
        view = gather(self._sources, name)
        if view is None:
            self._measures.forget(name)
            return None
        decision = decide(view)
        shape = shape_of(view, self._template)
        looked, refused = Looked(), ""
        failure: TandemError | None = None
        try:
            self._keep_sector(view, shape)
            looked = self._advance(view, decision, shape)
            self._keep_versions(view, shape, looked.rollout)
        except (Conflict, Transient) as error:
            # Nothing is wrong with the sector: what was read is old, or a server is away that the next look asks again.
            failure, looked = error, replace(looked, wait=str(error))
        except Permanent as error:
            failure, refused = error, str(error)
        newest = looked.rollout or view.newest
        look = Look(
            decision=decision,
            rollout=newest.name if newest else "",
            state=newest.state if newest else None,
            wait=looked.wait,
            scores_trouble=looked.scores_trouble,
            not_applied=(*self._upkeep.trouble(view.sector), *([refused] if refused else [])),
        )
        self._measures.tell(view, look.state)
        self._report(view, look)
        if failure is not None:
            raise failure
        return self._again_s(view, look)

    def _advance(self, view: View, decision: Decision, shape: SectorShape) -> Looked:
        """Do what was decided."""
        looked = Looked()
        match decision:
            case Begin(candidate=candidate):
                looked = Looked(rollout=self._rollouts.begin(view, candidate))
            case GiveWay(rollout=rollout, by=by):
                looked = self._rollouts.look(view, rollout, shape, by=by)
            case Continue(rollout=rollout):
                # Without the routing nothing can be concluded: what runs is left alone.
                waits = Looked(rollout=rollout, wait=view.control_trouble)
                looked = waits if view.control_trouble else self._rollouts.look(view, rollout, shape)
            case Rest():
                pass
        self._rollouts.refuse_requests(view, looked.rollout)
        return looked

    def _keep_sector(self, view: View, shape: SectorShape) -> None:
        """What the sector has once. Before anything is taken away: the Service leaves a version first."""
        if view.conflict:
            return
        objects = sector_objects(shape, view.acted_on)
        self._upkeep.keep(objects, found_deployments(view))
        self._upkeep.remove(unwanted_objects(shape, (*objects, *_budgets(view, shape)), tuple(view.deployments)))

    def _keep_versions(self, view: View, shape: SectorShape, rollout: Rollout | None) -> None:
        """The versions that the pointer names. While a rollout runs the planner looks after them itself."""
        acted_on = view.acted_on
        if view.conflict or acted_on is None or (rollout is not None and rollout.runs):
            return
        self._rollouts.keep_version(view, shape, acted_on, "stable")
        if view.before is not None:
            self._rollouts.keep_version(view, shape, view.before, "previous")
        self._remove_strays(view, shape)

    def _remove_strays(self, view: View, shape: SectorShape) -> None:
        """Forecasters that no rollout and no pointer knows of, e.g. of a rollout whose record was deleted while it ran."""
        pointer = view.pointer
        assert pointer is not None
        named = {model.version for model in (pointer, pointer.previous, pointer.canary) if model is not None}
        for version, deployment in view.deployments.items():
            if version not in named and deployment["metadata"]["labels"].get(MODEL_VERSION) == version:
                self._rollouts.remove_version(shape, version)

    def _report(self, view: View, look: Look) -> None:
        context = self._sources.context
        for announced in news(view, look):
            context.events.tell(view.document, "Warning", announced.reason, announced.message)
        context.write_status(view.document, status_of(view, look, self._template.instance).to_document())

    def _again_s(self, view: View, look: Look) -> float:
        before = view.newest.state if view.newest else None
        if look.state != before:
            return 0.0
        if look.runs:
            return ROLLOUT_POLL_S
        return random.uniform(*POLL_S)  # noqa: S311  (spreads load, keeps no secret)


def _budgets(view: View, shape: SectorShape) -> tuple[Manifest, ...]:
    """Stand-ins for the budgets of the versions that run, so that they do not count as unwanted."""
    if not shape.template.pod_disruption_budget.enabled:
        return ()
    return tuple({"kind": "PodDisruptionBudget", "metadata": document["metadata"]} for document in view.deployments.values())
