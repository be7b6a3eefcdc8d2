"""What holds for every pod of the chart, whatever the values: rights, limits, probes, and who may talk to whom."""

from typing import Any

import pytest

from chart_renders import NAMESPACE, SCENARIOS, Object, Rendered, containers, of_scenario, one, pods, render, texts

OURS = ("ingestor", "recorder", "portfolio", "recycler")
POD_IP = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
each_scenario = pytest.mark.parametrize("name", SCENARIOS)


def own(pod: Object) -> list[Object]:
    """Containers of the chart; not those that a user adds."""
    return [container for container in containers(pod) if container["image"] != "busybox"]


@each_scenario
def test_no_pod_runs_as_root(name: str) -> None:
    """Nor with more than the default system calls."""
    for maker, pod in pods(of_scenario(name)):
        context = pod["spec"]["securityContext"]
        assert context["runAsNonRoot"] is True, maker
        assert context["runAsUser"] > 0, maker
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, maker


@each_scenario
def test_no_container_can_gain_rights_or_write_its_image(name: str) -> None:
    """A read-only root, no capabilities, no escalation."""
    for maker, pod in pods(of_scenario(name)):
        for container in own(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, f"{maker}: {container['name']}"


@each_scenario
def test_only_the_operator_and_its_helpers_have_a_token(name: str) -> None:
    """Nobody else talks to the API server."""
    with_token = {maker for maker, pod in pods(of_scenario(name)) if pod["spec"]["automountServiceAccountToken"]}
    prefix = "trading" if name == "everything" else "tandem"
    assert with_token - {f"Job/{prefix}-uninstall"} == {f"Deployment/{prefix}-operator", f"Pod/{prefix}-test-objects"}


@each_scenario
def test_every_container_says_what_it_needs(name: str) -> None:
    """Requests, and a limit on memory."""
    for maker, pod in pods(of_scenario(name)):
        for container in own(pod):
            resources = container["resources"]
            assert {"cpu", "memory"} <= set(resources["requests"]), f"{maker}: {container['name']}"
            assert "memory" in resources["limits"], f"{maker}: {container['name']}"


@each_scenario
def test_every_server_is_probed(name: str) -> None:
    """Ready and alive; by HTTP where the process speaks it."""
    for rendered in of_scenario(name):
        if rendered.kind not in {"Deployment", "StatefulSet"}:
            continue
        (container,) = rendered.document["spec"]["template"]["spec"]["containers"]
        assert {"readinessProbe", "livenessProbe"} <= set(container), str(rendered)
        if container["name"] in {*OURS, "dashboard", "operator", "mlflow"}:
            assert "httpGet" in container["readinessProbe"], str(rendered)
            assert "httpGet" in container["livenessProbe"], str(rendered)


@each_scenario
def test_mounts_and_volumes_agree(name: str) -> None:
    """Every mount has its volume, every volume a mount, and /tmp can be written to."""
    for maker, pod in pods(of_scenario(name)):
        mounted = {mount["name"] for container in containers(pod) for mount in container.get("volumeMounts", ())}
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", ())}
        claims = {"data"} if maker.startswith("StatefulSet") and "data" not in volumes else set()
        assert mounted == volumes | claims, maker
        paths = {mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
        assert "/tmp" in paths, maker


@each_scenario
def test_services_find_their_pods(name: str) -> None:
    """Each Service's selector fits exactly one kind of pod, and its port has that pod's name."""
    made = {maker: pod for maker, pod in pods(of_scenario(name)) if maker.startswith(("Deployment", "StatefulSet"))}
    for rendered in of_scenario(name):
        if rendered.kind != "Service":
            continue
        spec = rendered.document["spec"]
        fits = [pod for pod in made.values() if spec["selector"].items() <= pod["metadata"]["labels"].items()]
        assert len(fits) == 1, str(rendered)
        ports = {port["name"] for port in fits[0]["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in spec["ports"]} <= ports, str(rendered)


@each_scenario
def test_a_budget_never_blocks_a_drain(name: str) -> None:
    """maxUnavailable, and its selector finds pods."""
    labels = [pod["metadata"]["labels"] for _, pod in pods(of_scenario(name))]
    budgets = [rendered.document["spec"] for rendered in of_scenario(name) if rendered.kind == "PodDisruptionBudget"]
    assert budgets
    for budget in budgets:
        assert budget["maxUnavailable"] == 1
        assert "minAvailable" not in budget
        assert any(budget["selector"]["matchLabels"].items() <= found.items() for found in labels)


def test_writers_are_never_two() -> None:
    """Recreate, one pod: a second one would write, too. The cache and the page write nothing that stays."""
    for rendered in of_scenario("default"):
        if rendered.kind == "Deployment" and rendered.name not in {"tandem-redis", "tandem-dashboard-paper"}:
            assert rendered.document["spec"]["replicas"] == 1
            assert rendered.document["spec"]["strategy"] == {"type": "Recreate"}, str(rendered)


def test_portfolios_that_stand_by_are_replaced_one_by_one() -> None:
    """Each pod is ready when it trades or stands by, so that `helm --wait` ends; it tells its address; they may call each other."""
    objects = of_scenario("live")
    for account in ("main", "hedge"):
        spec = one(objects, "Deployment", f"tandem-portfolio-{account}")["spec"]
        assert (spec["replicas"], spec["strategy"]) == (2, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}})
        (container,) = spec["template"]["spec"]["containers"]
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz/replica"
        assert POD_IP in container["env"]
    policy = one(objects, "NetworkPolicy", "tandem-portfolio")["spec"]
    assert ("portfolio", 8080) in peers(policy["egress"], "to") & peers(policy["ingress"], "from")
    (alone,) = one(of_scenario("default"), "Deployment", "tandem-portfolio-paper")["spec"]["template"]["spec"]["containers"]
    assert POD_IP in alone["env"], "when another is to stand by, it asks the one that writes already"
    assert alone["readinessProbe"]["httpGet"]["path"] == "/readyz", "with one pod, standing by means that the one before has not gone yet"


def test_no_password_is_in_the_values() -> None:
    """Random, another one at each render without a cluster; and nowhere but in Secrets."""
    first, second = (secrets_of(render({})) for _ in range(2))
    assert {key for name, key in first} >= {"password", "mlflow-password", "token", "url"}
    for key, value in first.items():
        assert value != second[key]
        assert len(value) >= 32
    rendered = texts({})
    own_texts = "".join(text for name, text in rendered.items() if not name.endswith("-secret.yaml"))
    passwords = {value for (_, key), value in secrets_of_texts(rendered).items() if key in {"password", "mlflow-password", "token"}}
    assert len(passwords) == 4
    assert not any(password in own_texts for password in passwords)


def secrets_of(objects: tuple[Rendered, ...]) -> dict[tuple[str, str], str]:
    """(Secret, key) -> value."""
    return {(r.name, key): value for r in objects if r.kind == "Secret" for key, value in r.document["stringData"].items()}


def secrets_of_texts(rendered: dict[str, str]) -> dict[tuple[str, str], str]:
    """The same of rendered texts."""
    import yaml

    documents = [yaml.safe_load(text) for name, text in rendered.items() if name.endswith("-secret.yaml") and text.strip()]
    return {(document["metadata"]["name"], key): value for document in documents for key, value in document["stringData"].items()}


def test_secrets_that_exist_are_used() -> None:
    """With servers and secrets of one's own the chart makes no Secret, and reads each key by name."""
    objects = of_scenario("live")
    assert [r.name for r in objects if r.kind == "Secret"] == []
    env = env_of(objects, "tandem-portfolio-hedge")
    assert env["TANDEM_POSTGRES_URL"] == ("database", "url")
    assert env["TANDEM_REDIS_URL"] == ("cache", "url")
    assert env["TANDEM_ALPACA_KEY_ID"] == ("alpaca-hedge", "key-id")
    assert env["TANDEM_ALPACA_SECRET_KEY"] == ("alpaca-hedge", "secret-key")
    assert env["TANDEM_API_TOKEN"] == ("api-token", "token")
    assert env["TANDEM_ACCOUNT"] == "hedge"
    assert env["TANDEM_CAPITAL_USD"] == "50000.50"
    assert "TANDEM_ALPACA_API_URL" not in env
    assert env_of(objects, "tandem-ingestor")["TANDEM_ALPACA_KEY_ID"] == ("alpaca-data", "key-id")
    assert env_of(objects, "tandem-operator")["TANDEM_WEBHOOK_SECRET"] == ("webhook", "secret")


def env_of(objects: tuple[Rendered, ...], deployment: str) -> dict[str, Any]:
    """Variables of a Deployment's own container: values, or (Secret, key)."""
    pod = one(objects, "Deployment", deployment)["spec"]["template"]
    found: dict[str, Any] = {}
    for item in pod["spec"]["containers"][0]["env"]:
        reference = item.get("valueFrom", {}).get("secretKeyRef", {})
        found[item["name"]] = (reference["name"], reference["key"]) if reference else item.get("value")
    return found


def test_the_operator_sees_the_accounts_secrets_only() -> None:
    """By name; without any there is no rule on Secrets at all."""
    rules = one(of_scenario("live"), "Role", "tandem-operator")["rules"]
    (rule,) = [rule for rule in rules if "secrets" in rule["resources"]]
    assert rule["verbs"] == ["get"]
    assert sorted(rule["resourceNames"]) == ["alpaca-hedge", "alpaca-main", "alpaca-spare"]
    assert not [rule for rule in one(of_scenario("default"), "Role", "tandem-operator")["rules"] if "secrets" in rule["resources"]]


@each_scenario
def test_rights_end_at_the_namespace(name: str) -> None:
    """No ClusterRole, no star."""
    assert not [rendered for rendered in of_scenario(name) if rendered.kind.startswith("ClusterRole")]
    for rendered in of_scenario(name):
        if rendered.kind == "Role":
            for rule in rendered.document["rules"]:
                assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]


def peers(rules: list[Object], key: str) -> set[tuple[str, int]]:
    """(component, port) of each edge to or from a pod of the release."""
    found = set()
    for rule in rules:
        for peer in rule.get(key, ()):
            labels = peer.get("podSelector", {}).get("matchLabels", {})
            if component := labels.get("app.kubernetes.io/component"):
                found |= {(component, port["port"]) for port in rule["ports"]}
    return found


@each_scenario
def test_both_ends_of_each_edge_are_open(name: str) -> None:
    """What one pod may send, the other one takes, at the port that it listens on; and nothing else is sent between them."""
    policies = {
        rendered.document["metadata"]["labels"]["app.kubernetes.io/component"]: rendered.document["spec"]
        for rendered in of_scenario(name)
        if rendered.kind == "NetworkPolicy" and not rendered.name.endswith("-deny")
    }
    sent = {(source, target, port) for source, spec in policies.items() for target, port in peers(spec["egress"], "to")}
    taken = {(source, target, port) for target, spec in policies.items() for source, port in peers(spec.get("ingress", []), "from")}
    forecaster = {edge for edge in sent | taken if "forecaster" in edge}  # its policy comes from the operator
    assert sent - forecaster <= taken
    absent = {source for source, _, _ in taken - sent} - set(policies) - {"forecaster"}
    assert {edge for edge in taken - sent - forecaster if edge[0] not in absent} == set()
    listening = {
        (pod["metadata"]["labels"]["app.kubernetes.io/component"], port["containerPort"])
        for _, pod in pods(of_scenario(name))
        for container in pod["spec"]["containers"]
        for port in container.get("ports", ())
    }
    assert {(target, port) for _, target, port in sent - forecaster} <= listening


@each_scenario
def test_everything_else_is_denied(name: str) -> None:
    """One policy takes all pods of the release and allows nothing."""
    (deny,) = [r.document["spec"] for r in of_scenario(name) if r.kind == "NetworkPolicy" and r.name.endswith("-deny")]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in deny
    assert "egress" not in deny
    for maker, pod in pods(of_scenario(name)):
        assert deny["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items(), maker


def test_addresses_carry_the_namespace() -> None:
    """KEDA and forecasters ask from elsewhere; MLflow must know the name that it is asked by."""
    env = {
        item["name"]: item.get("value")
        for item in one(of_scenario("default"), "StatefulSet", "tandem-mlflow")["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    hosts = env["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    for host in ("tandem-mlflow", f"tandem-mlflow.{NAMESPACE}.svc"):
        assert {host, f"{host}:5000"} <= set(hosts)


@each_scenario
def test_who_waits_knows_addresses_only(name: str) -> None:
    """The container that waits gets the variables that it is told to look at, and no token or key."""
    waits = [container for _, pod in pods(of_scenario(name)) for container in containers(pod) if container["name"] == "wait"]
    assert waits
    for container in waits:
        assert {item["name"] for item in container["env"]} == set(container["command"][2:])


def test_a_new_chart_alone_starts_no_pod_anew() -> None:
    """No pod carries the chart's version."""
    for maker, pod in pods(of_scenario("default")):
        if not maker.startswith("Pod/"):
            assert "helm.sh/chart" not in pod["metadata"]["labels"], maker
            assert "app.kubernetes.io/version" not in pod["metadata"]["labels"], maker
