"""What our containers are told is what our services read: no variable that nobody knows, no setting that no value reaches."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import tandem
from chart_renders import SCENARIOS, Object, containers, of_scenario, pods
from tandem.rollout.deployment import FIXED_VARIABLES, OWN_VARIABLES
from tandem.settings import Settings

PACKAGE = Path(tandem.__file__).parent
# Components with a package of their name.
SERVICES = ("ingestor", "recorder", "portfolio", "dashboard", "operator", "forecaster")
# Read by libraries, and what the scenarios add by extraEnv.
OTHERS = {
    *("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    *("TZ", "EXTRA"),
}


def variable(name: str) -> str:
    """The environment's name of a setting."""
    alias = Settings.model_fields[name].validation_alias
    return str(alias) if alias else f"TANDEM_{name.upper()}"


FIELDS = {variable(name): name for name in Settings.model_fields}


def own_containers(name: str) -> Iterator[tuple[str, Object]]:
    """(component, container) of everything that runs our packages in a scenario, forecasters included."""
    for _, pod in pods(of_scenario(name)):
        for container in containers(pod):
            if "/tandem-" in f"/{container['image']}" and "tandem-mlflow" not in container["image"]:
                yield pod["metadata"]["labels"]["app.kubernetes.io/component"], container
    (template,) = [found for found in of_scenario(name) if found.kind == "ConfigMap" and found.name.endswith("-forecaster")]
    forecaster = yaml.safe_load(template.document["data"]["forecaster.yaml"])
    fixed = [{"name": key, "value": value} for key, value in FIXED_VARIABLES.items()]
    own = [{"name": key, "value": "1"} for key in OWN_VARIABLES]
    yield "forecaster", {"name": "forecaster", "env": [*forecaster["env"], *fixed, *own]}


def environ(container: Object) -> dict[str, str]:
    """Its variables; `secret` is what a Secret or the pod itself holds, with the beginning that an address has."""
    return {item["name"]: item.get("value", "secret") for item in container.get("env", ())}


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_variable_is_a_setting(name: str) -> None:
    """One that is misspelt would be ignored without a word."""
    told = {key for _, container in own_containers(name) for key in environ(container)}
    assert told - set(FIELDS) - OTHERS == set()


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_variable_is_taken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the settings read it: type, range and choice. Certificates are files of Secrets and are left out."""
    for known in FIELDS:
        monkeypatch.delenv(known, raising=False)
    for _, container in own_containers(name):
        told = {key: value for key, value in environ(container).items() if not key.endswith(("_CA_FILE", "_CERT_FILE", "_KEY_FILE"))}
        with monkeypatch.context() as patch:
            for key, value in told.items():
                patch.setenv(key, value)
            settings = Settings()
        assert settings.model_fields_set == {FIELDS[key] for key in told if key in FIELDS}, container["name"]


def test_defaults_are_the_settings_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of everything that is a number or a switch: who reads one of the two pages is not told something else by the other."""
    for known in FIELDS:
        monkeypatch.delenv(known, raising=False)
    for component in ("ingestor", "recorder", "portfolio"):
        (container,) = [found for who, found in own_containers("default") if who == component and found["name"] == component]
        for key, value in environ(container).items():
            field = FIELDS.get(key)
            default = Settings.model_fields[field].default if field else None
            if isinstance(default, int | float) and key != "TANDEM_PORT":
                with monkeypatch.context() as patch:
                    patch.setenv(key, value)
                    assert getattr(Settings(), str(field)) == default, key


# What a service reads and the chart does not tell it, with the reason.
NOT_TOLD: dict[str, dict[str, str]] = {"forecaster": {"identity": "a pod's host name is the pod's name, which is what it is without"}}


def read_by(package: str) -> set[str]:
    """Settings that the modules of a package name: `settings.x`, of whatever the settings are an attribute."""
    found = set()
    for path in (PACKAGE / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value).split(".")[-1].lstrip("_") == "settings":
                found.add(node.attr)
    return found & set(Settings.model_fields)


def told_to(component: str) -> set[str]:
    """Settings that a component gets in some scenario."""
    told = {key for name in SCENARIOS for who, container in own_containers(name) if who == component for key in environ(container)}
    return {FIELDS[key] for key in told if key in FIELDS}


@pytest.mark.parametrize("component", SERVICES)
def test_a_service_is_told_what_it_reads(component: str) -> None:
    """By some value of some scenario; or it is said why not. A reason that is no longer needed fails, too."""
    read = read_by(component)
    assert read, "the package has another name"
    assert read - told_to(component) == set(NOT_TOLD.get(component, ())), "a new setting needs a value of the chart, or its reason above"


def test_no_setting_is_out_of_reach() -> None:
    """Each one is told to somebody."""
    assert set(Settings.model_fields) - {name for component in (*SERVICES, "recycler", "trainer") for name in told_to(component)} == set()
