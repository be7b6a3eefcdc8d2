"""Every alert under Prometheus' own test of rules: it fires, it is silent, and it is silent without data; and of its namespace alone."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from prometheus_cases import CASES, SHADOW, Case, Series, gate
from prometheus_programs import program

ROOT = Path(__file__).parents[2]
RULES = ROOT / "config/prometheus/rules.yaml"


def rules_for(name: str) -> dict[str, Any]:
    """Of the shipped rules an alert, and the recorded series that it is made of: all would take minutes over days of samples."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    recorded = {rule["record"]: rule["expr"] for group in groups for rule in group["rules"] if "record" in rule}
    needed, read = {name}, next(rule["expr"] for group in groups for rule in group["rules"] if name in rule.values())
    while found := {record for record in recorded if record in read} - needed:
        needed |= found
        read = " ".join(recorded[record] for record in found)
    return {"groups": [group | {"rules": [rule for rule in group["rules"] if needed & set(_names(rule))]} for group in groups]}


def _names(rule: dict[str, Any]) -> tuple[str, ...]:
    return tuple(rule[key] for key in ("alert", "record") if key in rule)


def run(folder: Path, name: str, tests: list[dict[str, Any]], every: str = "30s") -> None:
    """Evaluate an alert of the shipped rules over the tests' series."""
    rules, path = folder / "rules.yaml", folder / "cases.yaml"
    rules.write_text(yaml.safe_dump(rules_for(name)))
    path.write_text(yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": every, "tests": tests}))
    done = subprocess.run((program("promtool"), "test", "rules", str(path)), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_of(name: str, series: Series, case: Case, *, fires: bool) -> dict[str, Any]:
    """Whether an alert fires under these series."""
    expected = [{"labels": "{}", "value": 1}] if fires else []
    return {
        "name": name,
        "interval": case.every,
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "promql_expr_test": [
            {"expr": f'group(ALERTS{{alertname="{name}",alertstate="firing"}})', "eval_time": case.at, "exp_samples": expected}
        ],
    }


test_of.__test__ = False  # type: ignore[attr-defined]


def test_the_rules_are_what_prometheus_takes() -> None:
    """promtool checks expressions and templates."""
    done = subprocess.run((program("promtool"), "check", "rules", str(RULES)), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_is_silent_and_is_silent_without_data(name: str, tmp_path: Path) -> None:
    """Only the watchdog and the alert for no data at all fire without any."""
    case = CASES[name]
    tests = [test_of(name, case.firing, case, fires=True), test_of(name, {}, case, fires=case.absent_fires)]
    if case.silent:
        tests.append(test_of(name, case.silent, case, fires=False))
    run(tmp_path, name, tests, case.every)


@pytest.mark.parametrize(
    ("alert", "record", "value"),
    [
        ("TandemMarketDataBurnsFast", "tandem:market_data_bad:ratio_1h", 0.0),
        ("TandemForecastsBurnsFast", "tandem:forecasts_bad:ratio_1h", None),
    ],
)
def test_a_ratio_counts_sessions_only(alert: str, record: str, value: float | None, tmp_path: Path) -> None:
    """Half an hour disconnected before the open and connected since: nothing is bad; no events: no ratio at all."""
    series = {"tandem_ingestor_session_open": "0x60 1x60", "tandem_ingestor_connected": "0x60 1x60"}
    samples = [] if value is None else [{"labels": record, "value": value}]
    test = {
        "interval": "30s",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "promql_expr_test": [{"expr": record, "eval_time": "55m", "exp_samples": samples}],
    }
    run(tmp_path, alert, [test])


def of_namespace(series: Series, namespace: str) -> dict[str, str]:
    """The same series as Kubernetes names them."""
    named = {}
    for key, values in series.items():
        name, _, labels = key.partition("{")
        named[f'{name}{{namespace="{namespace}",{labels or "}"}'] = values
    return named


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if name != "TandemWatchdog"])
def test_an_alert_is_of_its_namespace(name: str, tmp_path: Path) -> None:
    """What is wrong in one namespace neither drowns in another that is well, nor is told of that one."""
    case = CASES[name]
    # Only the alert for no data at all fires without any: here one namespace falls silent beside another.
    firing = case.firing or {'tandem_build_info{service="ingestor"}': "1x5 _x400"}
    series = of_namespace(firing, "ill") | of_namespace(case.silent, "well")
    told = f'count by (namespace) (group by (namespace, alertname) (ALERTS{{alertname="{name}",alertstate="firing"}}))'
    test = {
        "interval": case.every,
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "promql_expr_test": [{"expr": told, "eval_time": case.at, "exp_samples": [{"labels": '{namespace="ill"}', "value": 1}]}],
    }
    run(tmp_path, name, [test], case.every)


@pytest.mark.parametrize(
    ("name", "series", "fires"),
    [
        pytest.param("TandemGateInconclusive", gate("30", p_values="NaN " * 200), False, id="no verdict is possible yet"),
        pytest.param("TandemGateInconclusive", gate("30", step="0"), False, id="the rollout has ended otherwise"),
        pytest.param(
            "TandemGateInconclusive", {'tandem_operator_rollouts_total{outcome="Inconclusive"}': "0x10 1x400"}, True, id="it has ended so"
        ),
        pytest.param(
            "TandemShadowDiverges",
            {'tandem_operator_shadow_divergence{sector="s"}': "0.06x400", SHADOW: "1x10 0x400"},
            False,
            id="the rollout ended long ago",
        ),
        pytest.param(
            "TandemModelStale",
            {
                'tandem_operator_alias_behind{sector="s",pod="a"}': "1x60 _x100",
                'tandem_operator_alias_behind{sector="s",pod="b"}': "_x61 1x100",
            },
            True,
            id="the operator was restarted in between",
        ),
        pytest.param(
            "TandemModelStale",
            {'tandem_operator_alias_behind{sector="s"}': "1x60 0x2 1x100"},
            False,
            id="the alias was right for a moment",
        ),
    ],
)
def test_an_alert_on_a_rollout_tells_these_apart(name: str, series: Series, tmp_path: Path, *, fires: bool) -> None:
    """What looks alike for one series alone."""
    run(
        tmp_path,
        name,
        [test_of(name, series, replace(CASES[name], at=CASES[name].at if "Stale" in name else "90m"), fires=fires)],
        CASES[name].every,
    )
