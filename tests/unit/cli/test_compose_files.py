"""What runs beside the platform without Kubernetes: the compose file, and the files that it mounts, agree with each other."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from compose_files import DOCUMENT, ROOT, SERVICES, mounts
from tandem.cli.generate import DASHBOARDS, RULES

PROVISIONING = ROOT / "config/grafana/provisioning"
GRAFANA = SERVICES["grafana"]
each_service = pytest.mark.parametrize("name", SERVICES)


def document(path: Path) -> Any:
    """A YAML file."""
    return yaml.safe_load(path.read_text())


@each_service
def test_a_service_has_no_more_rights_than_it_needs(name: str) -> None:
    """A fixed release, no root, no capability, nothing written but into volumes, and only the loopback listens."""
    service = SERVICES[name]
    assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+", service["image"])
    assert service["user"] not in {"", "0", "root"}
    assert (service["read_only"], service["cap_drop"], service["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    told = [*service.get("command", ()), *(f"{key}={value}" for key, value in service.get("environment", {}).items())]
    listens = [word for word in told if re.search(r"listen-address|HTTP_ADDR", word)]
    assert listens
    assert all(re.search(r"=(127\.0\.0\.1(:\d+)?)?$", word) for word in listens), listens


@each_service
def test_what_a_service_mounts_exists(name: str) -> None:
    """A missing folder would be made by the engine, empty; a volume that nobody uses is left over."""
    for target, source in mounts(name).items():
        assert isinstance(source, str) or source.is_dir(), f"{target}: {source} is not there"
    used = {source for service in SERVICES for source in mounts(service).values() if isinstance(source, str)}
    assert used == set(DOCUMENT["volumes"])


@pytest.mark.parametrize(("name", "folder"), [("prometheus", "config/prometheus"), ("alertmanager", "config/alertmanager")])
def test_a_service_reads_our_configuration(name: str, folder: str) -> None:
    """The file that its command names lies in the folder that is mounted."""
    told = next(word.removeprefix("--config.file=") for word in SERVICES[name]["command"] if word.startswith("--config.file="))
    source = mounts(name)[str(Path(told).parent)]
    assert source == ROOT / folder
    assert (ROOT / folder / Path(told).name).is_file()


def test_the_three_know_each_other() -> None:
    """Prometheus reads the generated rules and tells Alertmanager where that one listens; Grafana asks Prometheus where it listens."""
    prometheus = document(ROOT / "config/prometheus/prometheus.yaml")
    assert [ROOT / "config/prometheus" / name for name in prometheus["rule_files"]] == [ROOT / RULES[0]]
    (alertmanager,) = prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert f"--web.listen-address={alertmanager}" in SERVICES["alertmanager"]["command"]
    address = re.search(r":-http://([^}]+)", GRAFANA["environment"]["TANDEM_PROMETHEUS_URL"])
    assert address is not None
    assert f"--web.listen-address={address[1]}" in SERVICES["prometheus"]["command"]


def test_it_mounts_the_dashboards_that_are_generated_and_the_provisioning() -> None:
    """No second copy that could be another."""
    assert mounts("grafana") == {"/etc/grafana/provisioning": PROVISIONING, GRAFANA["environment"]["TANDEM_DASHBOARDS"]: ROOT / DASHBOARDS}
    home = Path(GRAFANA["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (ROOT / DASHBOARDS / home.name).is_file()


def test_every_variable_of_the_provisioning_is_set() -> None:
    """Grafana puts nothing in the place of one that it does not know."""
    used = {name for path in PROVISIONING.rglob("*.yaml") for name in re.findall(r"\$([A-Z_]+)", uncommented(path))}
    assert used == {"TANDEM_PROMETHEUS_URL", "TANDEM_DASHBOARDS"}
    assert used <= set(GRAFANA["environment"])


def uncommented(path: Path) -> str:
    """A file without its comments."""
    return re.sub(r"#.*", "", path.read_text())


def test_the_data_source_is_one_that_the_dashboards_offer() -> None:
    """They let choose among those of type prometheus."""
    (source,) = document(PROVISIONING / "datasources/prometheus.yaml")["datasources"]
    (provider,) = document(PROVISIONING / "dashboards/tandem.yaml")["providers"]
    assert source["type"] == "prometheus"
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)


def test_grafanas_release_is_the_one_of_the_sdk() -> None:
    """The documents are made of that release's fields."""
    pinned = re.search(r"grafana-foundation-sdk==\d+!([\d.]+)", (ROOT / "pyproject.toml").read_text())
    assert pinned is not None
    assert GRAFANA["image"].endswith(f":{pinned[1]}")
