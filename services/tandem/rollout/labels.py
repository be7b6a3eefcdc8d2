"""Names and labels of what the operator makes for a sector. Values only; manifests.py and its parts build objects with them."""

from dataclasses import dataclass
from typing import Any

from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import SectorId

GROUP_PREFIX = "tandem.trading"
SECTOR, MODEL_VERSION = f"{GROUP_PREFIX}/sector", f"{GROUP_PREFIX}/model-version"
ROLE, MODEL_DIGEST, MODEL_NAME = f"{GROUP_PREFIX}/role", f"{GROUP_PREFIX}/model-digest", f"{GROUP_PREFIX}/model-name"
NAME, INSTANCE, COMPONENT, MANAGED_BY = (f"app.kubernetes.io/{name}" for name in ("name", "instance", "component", "managed-by"))
PRODUCT, FORECASTER, MANAGER = "tandem", "forecaster", "tandem-operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The resource that a made object belongs to: the cluster collects the object when its owner is gone."""

    api_version: str
    kind: str
    name: str
    uid: str

    def reference(self) -> dict[str, Any]:
        """As in metadata.ownerReferences. Deleting the owner waits for nothing, so no right on its finalizers is needed."""
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }


def sector_name(sector: SectorId) -> str:
    """Of the Service of the version that is acted on, and of everything else that a sector has one of."""
    return f"{FORECASTER}-{sector}"


def version_name(sector: SectorId, version: str) -> str:
    """Of a version's Deployment, Service, settings and budget."""
    return f"{FORECASTER}-{sector}-v{version}"


def sector_selector(instance: str, sector: SectorId) -> dict[str, str]:
    """Selects the pods of all versions of a sector."""
    return {NAME: PRODUCT, INSTANCE: instance, COMPONENT: FORECASTER, SECTOR: sector}


def version_selector(instance: str, sector: SectorId, version: str) -> dict[str, str]:
    """Selects the pods of one version."""
    return sector_selector(instance, sector) | {MODEL_VERSION: version}


def selector_text(labels: dict[str, str]) -> str:
    """As kubectl and a scale subresource take it: a=b,c=d."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


def object_metadata(name: str, namespace: str, labels: dict[str, str], owner: Owner) -> dict[str, Any]:
    """The metadata of an object that the operator makes."""
    return {"name": name, "namespace": namespace, "labels": labels | {MANAGED_BY: MANAGER}, "ownerReferences": [owner.reference()]}


def model_annotations(model: ModelRef) -> dict[str, str]:
    """The exact content that a version's pods serve: the number alone says only where the registry keeps it."""
    return {MODEL_NAME: model.name, MODEL_DIGEST: model.digest}
