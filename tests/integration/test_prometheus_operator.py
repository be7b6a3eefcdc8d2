"""A real Prometheus over an operator with a rollout under way: what its alerts and panels read is there. Real servers all."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cluster.control_plane import KubeApi
from metrics_page import missing
from operated_sector import OperatedSector, place_of
from operator_process import OperatorProcess, account_manifest, pair_manifest, running_operator, wait_condition
from operator_world import Servers
from prometheus_server import evaluated, has_data, questions, running_prometheus, table_series_in, until
from tandem.adapters.series import series_of
from tandem.cli.silent_series import EVENTUAL

CONFIG = Path(__file__).parents[2] / "config/prometheus"
OWN = {f"tandem_{name}" for name in series_of("operator") if name.startswith("operator_")}
_SHOWN_S = 240


@pytest.fixture
def operated(
    kube_api: KubeApi, kafka_servers: str, postgres_url: str, mlflow_uri: str, tmp_path: Path
) -> Iterator[tuple[OperatedSector, OperatorProcess]]:
    """A sector under a running operator, which also has a pair and an account."""
    servers = Servers(kafka=kafka_servers, postgres=postgres_url, mlflow=mlflow_uri)
    with place_of(kube_api, servers, tmp_path) as place, running_operator(kube_api, place.environ, tmp_path) as process:
        sector = place.sector()
        kube_api.apply(pair_manifest("tried", "MCD", "YUM", sector=sector.sector), account_manifest("tried"), namespace=place.namespace)
        yield sector, process
        print(process.tail())


@pytest.fixture
def prometheus(operated: tuple[OperatedSector, OperatorProcess], tmp_path: Path) -> Iterator[str]:
    """The shipped rules over this operator alone, which is asked each second."""
    folder = tmp_path / "prometheus"
    shutil.copytree(CONFIG, folder)
    configuration = yaml.safe_load((CONFIG / "prometheus.yaml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["scrape_configs"] = [{"job_name": "tandem", "static_configs": [{"targets": [operated[1].url.removeprefix("http://")]}]}]
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    with running_prometheus(folder) as address:
        yield address


def test_what_alerts_and_panels_read_of_the_operator_is_there(operated: tuple[OperatedSector, OperatorProcess], prometheus: str) -> None:
    """While a candidate that has passed its gate is in its canary; every rule can be evaluated."""
    sector, operator = operated
    first = sector.adopt()
    second = sector.register("candidate")
    sector.step(second.version, "Shadow")
    sector.compare(first, second, bars=60)
    sector.step(second.version, "Canary")
    wait_condition(sector.api, sector.namespace, "tradingpair", "tried", {"Accepted": ("True", "Accepted")})
    sector.control.remove("pair/MCD-YUM")  # which was told, and the operator puts back
    wanted = {question for question in questions() if (read := table_series_in(question)) and read <= OWN and not read & {*EVENTUAL}}
    assert {name for question in wanted for name in table_series_in(question)} >= OWN - {*EVENTUAL}, "a series that nobody looks at"
    shown = set[str]()

    def look() -> bool:
        shown.update(question for question in wanted - shown if has_data(prometheus, question))
        return shown == wanted

    until(look, _SHOWN_S, lambda: "nothing to show:\n" + "\n".join(sorted(wanted - shown)))
    assert [rule["name"] for rule in evaluated(prometheus) if rule["health"] not in {"ok", "unknown"}] == []
    assert (operator.metric("tandem_operator_alias_behind", sector=sector.sector), missing("operator", operator.page())) == (1.0, [])
