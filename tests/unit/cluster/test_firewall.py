"""What policies let through, asked of the rules that are made of them."""

import re
from typing import Any

import pytest

from cluster.firewall import Cluster, rules, selects

Policy = dict[str, Any]
APP, BASE, STRANGER = "10.0.0.1", "10.0.0.2", "10.0.0.3"
NODE = "192.168.88.1"


def pod(name: str, address: str, *, namespace: str = "here", phase: str = "Running") -> dict[str, Any]:
    """A pod whose label is its name; it calls its port 8080 http."""
    container = {"ports": [{"name": "http", "containerPort": 8080}]}
    metadata = {"name": name, "namespace": namespace, "labels": {"app": name}}
    return {"metadata": metadata, "spec": {"containers": [container]}, "status": {"podIP": address, "phase": phase}}


def policy(chosen: str = "", **spec: Any) -> Policy:
    """A policy for the pods of this name; of all, when it is empty."""
    selector = {"matchLabels": {"app": chosen}} if chosen else {}
    return {"metadata": {"name": "p", "namespace": "here"}, "spec": {"podSelector": selector, **spec}}


def cluster(*policies: Policy) -> Cluster:
    """Two pods in one namespace, a stranger in another, and one that is over."""
    return Cluster(
        pods=(
            pod("app", APP),
            pod("base", BASE),
            pod("stranger", STRANGER, namespace="there"),
            pod("base", "10.0.0.9", phase="Succeeded"),
        ),
        policies=policies,
        namespaces=tuple({"metadata": {"name": name, "labels": {"name": name}}} for name in ("here", "there")),
    )


def passes(text: str, source: str, target: str, port: int, protocol: str = "tcp") -> bool:
    """Whether a first packet passes: the chains read as iptables reads them."""
    rows = [re.fullmatch(r"-A (\S+) ?(.*) -j (\S+)", line) for line in text.splitlines() if line.startswith("-A ")]
    chains: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        assert row is not None
        chains.setdefault(row[1], []).append((row[2], row[3]))

    def matches(match: str) -> bool:
        found = dict(zip(*[iter(match.split())] * 2, strict=True))
        low, _, high = found.get("--dport", f"{port}").partition(":")
        return (
            "conntrack" not in match
            and found.get("-s", source) == source
            and found.get("-d", target) == target
            and found.get("-p", protocol) == protocol
            and int(low) <= port <= int(high or low)
        )

    def verdict(chain: str) -> str:
        for match, target_name in chains.get(chain, ()):
            if matches(match):
                if target_name in ("DROP", "RETURN"):
                    return target_name
                if verdict(target_name) == "DROP":
                    return "DROP"
        return "RETURN"

    return verdict("TANDEM-PODS") == "RETURN"


FROM_APP = {"podSelector": {"matchLabels": {"app": "app"}}}
DENY = policy("base", policyTypes=["Ingress"])


@pytest.mark.parametrize(
    ("policies", "source", "port", "allowed"),
    [
        ((), APP, 1, True),
        ((DENY,), APP, 8080, False),
        ((DENY, policy("base", ingress=[{"from": [FROM_APP]}])), APP, 8080, True),  # policies add up
        ((policy("base", ingress=[{"from": [FROM_APP]}]),), STRANGER, 8080, False),
        ((policy("base", ingress=[{"from": [FROM_APP], "ports": [{"port": 8080}]}]),), APP, 8080, True),
        ((policy("base", ingress=[{"from": [FROM_APP], "ports": [{"port": 8080}]}]),), APP, 8081, False),
        ((policy("base", ingress=[{"ports": [{"port": "http"}]}]),), STRANGER, 8080, True),  # from anywhere, by the port's name
        ((policy("base", ingress=[{"ports": [{"port": "metrics"}]}]),), APP, 8080, False),  # nothing is called so
        ((policy("base", ingress=[{"ports": [{"port": 8000, "endPort": 8100}]}]),), APP, 8080, True),
        ((policy("base", ingress=[{"ports": [{"port": 8080, "protocol": "UDP"}]}]),), APP, 8080, False),
        ((policy("base", ingress=[{}]),), STRANGER, 1, True),  # an empty rule allows everything
        ((policy("base", ingress=[{"from": [{"namespaceSelector": {}}]}]),), STRANGER, 1, True),
        ((policy("base", ingress=[{"from": [{"namespaceSelector": {"matchLabels": {"name": "here"}}}]}]),), STRANGER, 1, False),
        ((policy("base", ingress=[{"from": [{"podSelector": {}}]}]),), STRANGER, 1, False),  # of its own namespace only
        ((policy("app", policyTypes=["Egress"]),), APP, 8080, False),
        ((policy("app", egress=[{"to": [{"podSelector": {"matchLabels": {"app": "base"}}}]}]),), APP, 8080, True),
        ((policy("app", egress=[]),), APP, 8080, True),  # without policyTypes an empty list says nothing of egress
        ((policy(policyTypes=["Ingress", "Egress"]),), STRANGER, 8080, False),  # the chart's way to deny everything
    ],
)
def test_who_reaches_a_pod(policies: tuple[Policy, ...], source: str, port: int, allowed: bool) -> None:
    """As the API's reference has it."""
    assert passes(rules(cluster(*policies)), source, BASE, port) is allowed


def test_what_leaves_for_the_node_is_held_to_the_policies_too() -> None:
    """Names and the API server are on the node: their ports must be allowed."""
    text = rules(cluster(policy("app", policyTypes=["Egress"], egress=[{"ports": [{"port": 53, "protocol": "UDP"}]}])))
    assert passes(text, APP, NODE, 53, "udp")
    assert not passes(text, APP, NODE, 6443)
    assert passes(text, NODE, APP, 8080)  # a probe


def test_a_block_without_its_exception() -> None:
    """The exception's addresses are cut out."""
    text = rules(cluster(policy("base", ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/30", "except": ["10.0.0.1/32"]}}]}])))
    assert re.findall(r"-s (\S+) -j RETURN", text) == ["10.0.0.2/31", "10.0.0.0/32"]


def test_a_pod_that_is_over_has_no_address() -> None:
    """Another pod may have it by now."""
    assert "10.0.0.9" not in rules(cluster(policy(policyTypes=["Ingress"], ingress=[{"from": [{"podSelector": {}}]}])))


def test_what_stands_goes_on() -> None:
    """The first rule lets answers through."""
    first = next(line for line in rules(cluster(DENY)).splitlines() if line.startswith("-A TANDEM-PODS "))
    assert first == "-A TANDEM-PODS -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN"


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ({"key": "app", "operator": "In", "values": ["a", "b"]}, True),
        ({"key": "app", "operator": "NotIn", "values": ["a"]}, False),
        ({"key": "app", "operator": "Exists"}, True),
        ({"key": "app", "operator": "DoesNotExist"}, False),
        ({"key": "tier", "operator": "DoesNotExist"}, True),
        ({"key": "tier", "operator": "NotIn", "values": ["x"]}, True),
    ],
)
def test_selectors_by_expression(expression: dict[str, Any], chosen: bool) -> None:
    """The four operators, on labels app=a."""
    assert selects({"matchExpressions": [expression]}, {"app": "a"}) is chosen
