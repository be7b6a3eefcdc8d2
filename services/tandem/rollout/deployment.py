"""The forecaster template: what the chart tells the operator about the forecasters that the operator makes.

One YAML document that the chart renders from its values and mounts; the operator reads it at its start (TANDEM_FORECASTER_TEMPLATE).
Decides what a valid template is. Does not read files, nor decide what a sector's forecaster looks like (manifests.py).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from tandem.domain.errors import BadSetting

HTTP_PORT = 3000
# A request in hand may take 10 s (the service's own limit), the last record, its flush and its commit 8 s; the rest is for stopping.
DRAIN_S_MIN = 20
# What the operator sets itself for each sector and version: a template that set it would make all forecasters the same.
OWN_VARIABLES = ("TANDEM_SECTOR", "TANDEM_MODEL_VERSION", "TANDEM_SHARDS")
# What follows from the pod's shape: probes, Services and the writable volume hang on it.
FIXED_VARIABLES: Mapping[str, str] = {"TANDEM_HOST": "0.0.0.0", "TANDEM_PORT": str(HTTP_PORT)}  # noqa: S104  (within a pod)


def _quantity(value: object) -> object:
    """A number, as YAML reads `cpu: 1`, as the text that Kubernetes calls a quantity."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Quantity = Annotated[str, BeforeValidator(_quantity), Field(pattern=r"^[0-9]+(\.[0-9]+)?([eE][0-9]+|m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
Object = dict[str, Any]  # a piece of a Kubernetes object, handed on as it is


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


class LocalReference(_Part):
    """The name of an object in the same namespace."""

    name: Name


class EnvVariable(_Part):
    """One variable of the container: a value, or where it comes from (a Secret's key, for credentials)."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=253)
    value: str | None = None
    value_from: Object | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.value is None) == (self.value_from is None):
            raise ValueError(f"env {self.name}: must have either value or valueFrom")
        return self


class Resources(_Part):
    """Requests and limits by resource, e.g. {requests: {cpu: 100m}}."""

    limits: dict[str, Quantity] = Field(default_factory=dict, max_length=8)
    requests: dict[str, Quantity] = Field(default_factory=dict, max_length=8)


class ServiceMonitorTemplate(_Part):
    """Whether a sector gets a ServiceMonitor, and which labels let Prometheus find it."""

    enabled: bool = False
    labels: dict[str, str] = Field(default_factory=dict)
    interval: str = Field(default="15s", pattern=r"^([0-9]+(ms|s|m|h))+$")


class NetworkPolicyTemplate(_Part):
    """Whether a sector gets a NetworkPolicy, and its edges.

    ingress: who may reach port http (NetworkPolicyPeer); none stands for every pod of the release.
    egress: rules (NetworkPolicyEgressRule); none stands for name resolution and the ports of Kafka, Postgres and MLflow.
    """

    enabled: bool = False
    ingress: list[Object] | None = None
    egress: list[Object] | None = None


class BudgetTemplate(_Part):
    """Whether a version gets a PodDisruptionBudget: at most one of its pods is evicted at a time."""

    enabled: bool = True


class KedaTemplate(_Part):
    """What KEDA's Kafka trigger needs beside the sector."""

    bootstrap_servers: str = ""  # KEDA runs in another namespace: names with the namespace in them


class ForecasterTemplate(_Part):
    """What all forecasters of a release have in common."""

    image: str = Field(min_length=1, max_length=512)
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: list[LocalReference] = Field(default_factory=list)
    instance: Name = Field(max_length=63)  # the release's name, of the label app.kubernetes.io/instance
    env: list[EnvVariable] = Field(default_factory=list)
    env_from: list[Object] = Field(default_factory=list)
    service_account_name: str = ""  # "" is the namespace's default account; its token is never mounted
    resources: Resources = Resources()
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: list[Object] = Field(default_factory=list)
    priority_class_name: str = ""
    topology_spread: bool = True  # the replicas of a version on different nodes where possible
    pod_annotations: dict[str, str] = Field(default_factory=dict)
    common_labels: dict[str, str] = Field(default_factory=dict)
    termination_grace_period_seconds: int = Field(default=40, ge=DRAIN_S_MIN, le=600)
    pre_stop_seconds: int = Field(default=5, ge=0, le=120)  # how long it serves on after it has left the Service's endpoints
    service_monitor: ServiceMonitorTemplate = ServiceMonitorTemplate()
    network_policy: NetworkPolicyTemplate = NetworkPolicyTemplate()
    pod_disruption_budget: BudgetTemplate = BudgetTemplate()
    keda: KedaTemplate = KedaTemplate()
    config_checksum: str = ""  # of what the release's Secrets and ConfigMaps hold; another one makes new pods

    @model_validator(mode="after")
    def _rules(self) -> Self:
        needed_s = self.pre_stop_seconds + DRAIN_S_MIN
        if self.termination_grace_period_seconds < needed_s:
            raise ValueError(
                f"terminationGracePeriodSeconds is {self.termination_grace_period_seconds}, must be at least {needed_s}: "
                f"preStopSeconds {self.pre_stop_seconds} and {DRAIN_S_MIN} to finish and commit"
            )
        names = [variable.name for variable in self.env]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"env names {', '.join(doubled)} more than once")
        if own := [name for name in names if name in OWN_VARIABLES]:
            raise ValueError(f"env sets {', '.join(own)}, which the operator sets for each sector and version")
        for variable in self.env:
            fixed = FIXED_VARIABLES.get(variable.name)
            if fixed is not None and variable.value != fixed:
                raise ValueError(f"env {variable.name}: must be {fixed!r} or left out, found {variable.value!r}")
        return self


def parse_template(document: Mapping[str, Any]) -> ForecasterTemplate:
    """The template, or BadSetting with every fault in it."""
    try:
        return ForecasterTemplate.model_validate(document)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'template'}: {fault['msg']}" for fault in error.errors(include_url=False)]
        raise BadSetting("forecaster template: " + "; ".join(faults)) from error
