"""The rendered objects of each scenario are those in golden/: a reviewer reads what a change of a template does.

`PYTHONPATH=tests python tests/chart/test_golden.py` writes them anew.
"""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart_renders import CHART, SCENARIOS, Rendered, of_scenario

GOLDEN = Path(__file__).parent / "golden"
# Made by chance, or of files that have their own tests and change for their own reasons.
_VOLATILE = re.compile(r"^(checksum/.*|helm\.sh/chart|app\.kubernetes\.io/version)$")
_FILES = ("config", "scripts")
_GROUPS = {group["name"] for group in yaml.safe_load((CHART / "files/rules/tandem.yaml").read_text())["groups"]}
_JOB_HASH = re.compile(r"-bootstrap-[0-9a-f]{8}$")


def golden(objects: tuple[Rendered, ...]) -> str:
    """All objects but the definitions, without what is volatile."""
    kept = [stable(rendered.document) for rendered in objects if rendered.kind != "CustomResourceDefinition"]
    return "---\n".join(yaml.safe_dump(document, sort_keys=False, width=140) for document in kept)


def stable(document: dict[str, Any]) -> dict[str, Any]:
    """The object without what is volatile."""
    found: dict[str, Any] = _without(copy.deepcopy(document))
    found["metadata"]["name"] = _JOB_HASH.sub("-bootstrap-HASH", found["metadata"]["name"])
    if found["kind"] == "Secret":
        found["stringData"] = dict.fromkeys(found["stringData"], "RANDOM")
    if found["kind"] == "ConfigMap" and (found["metadata"]["name"].endswith(_FILES) or "-dashboard-" in found["metadata"]["name"]):
        found["data"] = dict.fromkeys(found["data"], "FILE")
    if found["kind"] == "PrometheusRule":
        found["spec"]["groups"] = [{**group, "rules": "FILE"} if group["name"] in _GROUPS else group for group in found["spec"]["groups"]]
    return found


def _without(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: "VOLATILE" if _VOLATILE.match(key) else _without(value) for key, value in node.items()}
    return [_without(value) for value in node] if isinstance(node, list) else node


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_rendered_was_read(name: str) -> None:
    """Nothing has changed without its golden file."""
    assert golden(of_scenario(name)) == (GOLDEN / f"{name}.yaml").read_text(), (
        "run `PYTHONPATH=tests python tests/chart/test_golden.py`, and read the diff"
    )


def test_no_golden_file_is_left_over() -> None:
    """Each has its scenario."""
    assert sorted(path.stem for path in GOLDEN.glob("*.yaml")) == list(SCENARIOS)


if __name__ == "__main__":
    for scenario_name in SCENARIOS:
        (GOLDEN / f"{scenario_name}.yaml").write_text(golden(of_scenario(scenario_name)))
