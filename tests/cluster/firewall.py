"""NetworkPolicies in force: what a network plugin does, by the kernel's firewall, for the one node there is.

Rules are made of all pods and policies at once, and put in place at once, whenever one of them has changed. A connection that stands
goes on, as the API demands; what comes from the node itself, probes for example, is never refused. Of the API this knows what charts use:
selectors by labels, ports by number or name, address blocks with exceptions.
"""

import ipaddress
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubernetes.client import ApiClient, CoreV1Api, NetworkingV1Api
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from cluster.control_plane import KubeApi
from cluster.steps import say
from tandem.domain.errors import Permanent

_POLL_S = 0.5
_RESTORE_S_MAX = 30.0
_PODS = "TANDEM-PODS"  # consulted for what is forwarded, and for what pods send to the node
_OVER = frozenset({"Succeeded", "Failed"})
Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Everything that decides who may talk to whom, as the API server's JSON has it."""

    pods: tuple[Object, ...]
    policies: tuple[Object, ...]
    namespaces: tuple[Object, ...]


class Firewall:
    """Keeps the rules up to date in a thread of its own."""

    def __init__(self, api: KubeApi) -> None:
        self._client: ApiClient = api.client()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="firewall", daemon=True)

    def start(self) -> None:
        """Put the hooks in place, then begin. Raises Permanent."""
        hooks = [f"-I {chain} -j {_PODS}" for chain in ("FORWARD", "INPUT")]
        restore("\n".join(("*filter", f":{_PODS} - [0:0]", *hooks, "COMMIT", "")))
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the rules go with their network namespace."""
        self._stop.set()
        self._thread.join(timeout=10)
        self._client.close()

    def _run(self) -> None:
        before = ""
        while not self._stop.wait(_POLL_S):
            try:
                wanted = rules(self._cluster())
                if wanted != before:
                    restore(wanted)
                    before = wanted
            except (ApiException, HTTPError, OSError):
                continue  # the server is away, maybe because it is being stopped: what stands goes on
            except Permanent as error:
                say(f"FIREWALL: {error}")

    def _cluster(self) -> Cluster:
        def plain(found: Any) -> tuple[Object, ...]:
            return tuple(self._client.sanitize_for_serialization(found.items))

        core = CoreV1Api(self._client)
        return Cluster(
            pods=plain(core.list_pod_for_all_namespaces()),
            policies=plain(NetworkingV1Api(self._client).list_network_policy_for_all_namespaces()),
            namespaces=plain(core.list_namespace()),
        )


def restore(text: str) -> None:
    """Put rules in place, all or none. Raises Permanent."""
    argv = ("iptables-restore", "--noflush", "--wait")
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=_RESTORE_S_MAX, check=False)
    if done.returncode:
        raise Permanent(f"iptables-restore: {done.stderr.strip()} in\n{text}")


def rules(cluster: Cluster) -> str:
    """The table that enforces all policies: for each isolated pod and direction a chain that returns what is allowed and drops the rest."""
    chains: dict[str, list[str]] = {}
    jumps = ["-m conntrack --ctstate ESTABLISHED,RELATED -j RETURN"]
    for direction, flag in (("Egress", "-s"), ("Ingress", "-d")):
        for number, pod in enumerate(_with_address(cluster.pods)):
            chosen = [policy for policy in cluster.policies if _isolates(policy, pod, direction)]
            if not chosen:
                continue
            chain = f"{_PODS}-{direction[0]}{number}"
            allowed = dict.fromkeys(match for policy in chosen for match in _allowed(policy, pod, direction, cluster))
            chains[chain] = [*(f"{match} -j RETURN".strip() for match in allowed), "-j DROP"]
            jumps.append(f"{flag} {_address(pod)} -j {chain}")
    lines = ["*filter", f":{_PODS} - [0:0]", *(f":{chain} - [0:0]" for chain in chains)]
    lines += [f"-A {_PODS} {jump}" for jump in jumps]
    lines += [f"-A {chain} {rule}" for chain, found in chains.items() for rule in found]
    return "\n".join((*lines, "COMMIT", ""))


def _isolates(policy: Object, pod: Object, direction: str) -> bool:
    spec = policy["spec"]
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    here = policy["metadata"]["namespace"] == pod["metadata"]["namespace"]
    return here and direction in types and selects(spec.get("podSelector"), _labels(pod))


def _allowed(policy: Object, pod: Object, direction: str, cluster: Cluster) -> Iterator[str]:
    """What a policy lets the pod send or receive, as matches of iptables; "" matches everything."""
    peers_key, flag = ("to", "-d") if direction == "Egress" else ("from", "-s")
    for rule in policy["spec"].get(direction.lower()) or ():
        peers = rule.get(peers_key)
        for address, peer in [(None, None)] if not peers else _addresses(peers, policy, cluster):
            where = f"{flag} {address}" if address else ""
            served = peer if direction == "Egress" else pod  # whose names of ports count
            for what in _ports(rule.get("ports"), served):
                yield f"{where} {what}".strip()


def _addresses(peers: Sequence[Object], policy: Object, cluster: Cluster) -> Iterator[tuple[str, Object | None]]:
    """The addresses that peers stand for, and the pods that have them."""
    for peer in peers:
        if block := peer.get("ipBlock"):
            yield from ((str(network), None) for network in _without(block["cidr"], block.get("except") or ()))
            continue
        names = {policy["metadata"]["namespace"]}
        if "namespaceSelector" in peer:
            names = {one["metadata"]["name"] for one in cluster.namespaces if selects(peer["namespaceSelector"], _labels(one))}
        for pod in _with_address(cluster.pods):
            if pod["metadata"]["namespace"] in names and selects(peer.get("podSelector"), _labels(pod)):
                yield _address(pod), pod


def _without(cidr: str, excluded: Sequence[str]) -> list[ipaddress.IPv4Network]:
    networks = [ipaddress.IPv4Network(cidr)]
    for hole in map(ipaddress.IPv4Network, excluded):
        networks = [rest for network in networks for rest in (network.address_exclude(hole) if hole.subnet_of(network) else (network,))]
    return networks


def _ports(ports: Sequence[Object] | None, served: Object | None) -> Iterator[str]:
    if not ports:
        yield ""
    for port in ports or ():
        protocol, number = str(port.get("protocol", "TCP")), port.get("port")
        if isinstance(number, str):
            number = _named(number, protocol, served)
            if number is None:
                continue
        if number is None:
            yield f"-p {protocol.lower()}"
        else:
            yield f"-p {protocol.lower()} --dport {number}" + (f":{port['endPort']}" if "endPort" in port else "")


def _named(name: str, protocol: str, pod: Object | None) -> int | None:
    """The number of a pod's port; None where nothing is called so."""
    containers = pod["spec"]["containers"] if pod else ()
    found = (port for container in containers for port in container.get("ports") or ())
    return next((int(p["containerPort"]) for p in found if p.get("name") == name and p.get("protocol", "TCP") == protocol), None)


def selects(selector: Object | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector chooses these labels; none at all and an empty one choose everything."""
    selector = selector or {}
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_meets(expression, labels) for expression in selector.get("matchExpressions") or ())


def _meets(expression: Object, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case _:
            return value is None


def _with_address(pods: Sequence[Object]) -> list[Object]:
    """Pods that have an address of their own; one that is over has given it back."""
    return [pod for pod in pods if _address(pod) and pod["status"].get("phase") not in _OVER and not pod["spec"].get("hostNetwork", False)]


def _address(pod: Object) -> str:
    return str((pod.get("status") or {}).get("podIP") or "")


def _labels(item: Object) -> Mapping[str, str]:
    labels: Mapping[str, str] = item["metadata"].get("labels") or {}
    return labels
