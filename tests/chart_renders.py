"""The chart rendered by Helm's own engine, as objects; what all tests of the chart start from."""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import helm_python
import yaml

CHART = Path(__file__).parents[1] / "charts" / "tandem"
SCENARIOS = tuple(sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml")))
RELEASE, NAMESPACE = "tandem", "trading"
WORKLOADS = ("Deployment", "StatefulSet", "Job", "CronJob", "Pod")
HOOK = "helm.sh/hook"
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rendered:
    """One object and the template that it came from."""

    template: str
    document: Object

    @property
    def kind(self) -> str:
        """Its kind."""
        return str(self.document["kind"])

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.document["metadata"]["name"])

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML would silently take the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Every mapping of a document."""
        keys = [self.construct_object(key) for key, _ in node.value]
        doubled = {key for key in keys if keys.count(key) > 1}
        assert not doubled, f"{doubled} more than once, {node.start_mark}"
        return super().construct_mapping(node, deep)


def scenario(name: str) -> Object:
    """The values of ci/<name>-values.yaml."""
    values: Object = yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text())
    return values


def texts(values: Mapping[str, Any], *, release: str = RELEASE, chart: Path = CHART) -> dict[str, str]:
    """What each template gives, as text. Raises HelmError."""
    with helm_python.Chart.load(chart) as loaded:
        rendered: dict[str, str] = loaded.render(dict(values), name=release, namespace=NAMESPACE)
    return {name.removeprefix("tandem/templates/"): text for name, text in rendered.items()}


def render(values: Mapping[str, Any], *, release: str = RELEASE) -> tuple[Rendered, ...]:
    """All objects, in order of kind and name."""
    found = [
        Rendered(template, document)
        for template, text in texts(values, release=release).items()
        if template.endswith(".yaml")
        for document in yaml.load_all(text, _UniqueKeys)
        if document
    ]
    return tuple(sorted(found, key=lambda one: (one.kind, one.name)))


@functools.cache
def of_scenario(name: str) -> tuple[Rendered, ...]:
    """The objects of a scenario. Do not change them."""
    return render(scenario(name))


def one(objects: tuple[Rendered, ...], kind: str, name: str) -> Object:
    """The object of this kind and name."""
    (found,) = [rendered.document for rendered in objects if rendered.kind == kind and rendered.name == name]
    return found


def pod_template(document: Object) -> Object | None:
    """The pod that an object makes: metadata and spec. None for what makes none."""
    match document["kind"]:
        case "Pod":
            return document
        case "Deployment" | "StatefulSet" | "Job":
            template: Object = document["spec"]["template"]
            return template
        case "CronJob":
            inner: Object = document["spec"]["jobTemplate"]["spec"]["template"]
            return inner
    return None


def pods(objects: tuple[Rendered, ...]) -> Iterator[tuple[str, Object]]:
    """(who makes it, pod) of everything that makes pods."""
    for rendered in objects:
        if (pod := pod_template(rendered.document)) is not None:
            yield str(rendered), pod


def containers(pod: Object) -> list[Object]:
    """All containers of a pod, those that run first included."""
    return [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]
