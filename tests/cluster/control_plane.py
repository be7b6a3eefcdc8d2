"""A real control plane: etcd, kube-apiserver and kube-controller-manager as child processes, ready in a few seconds.

Deployments make their ReplicaSets and Pods here, owners their garbage; only nothing runs the pods: that is node.py's part.
"""

import json
import secrets
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from kubernetes.client import ApiClient
from kubernetes.config import new_client_from_config

from tandem.local.probes import HOST
from tandem.local.processes import Children, Command, StopPhase

SERVICE_RANGE = "10.96.0.0/16"
READY_S = 180.0  # three seconds on an idle machine
_PROBE_S = 3.0
_KUBECTL_S_MAX = 120.0
_ADMIN = "admin"
_USERS = {  # the user of each token, and its groups
    _ADMIN: ("tandem-tests", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a control plane listens and which range its services have."""

    folder: Path
    port: int
    etcd_port: int
    etcd_peer_port: int
    address: str = HOST
    node: str = ""  # the node that will join; empty: none


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeApi:
    """How a test reaches the API server, as its administrator."""

    url: str
    kubeconfig: Path
    token: str
    certificate: Path  # of the authority that signed the server's
    kubectl_program: Path
    environ: Mapping[str, str] = field(default_factory=dict)

    def kubectl(self, *arguments: str, text: str | None = None, timeout_s: float = _KUBECTL_S_MAX) -> "subprocess.CompletedProcess[str]":
        """Run kubectl to its end; `text` is what it reads from `-f -`. A failure is an answer, too: look at returncode and stderr."""
        argv = (str(self.kubectl_program), f"--kubeconfig={self.kubeconfig}", *arguments)
        return subprocess.run(argv, input=text, capture_output=True, text=True, timeout=timeout_s, check=False)

    def apply(self, *documents: Mapping[str, Any], namespace: str = "") -> None:
        """`kubectl apply` of these objects. Raises AssertionError with what the server said."""
        scope = ("--namespace", namespace) if namespace else ()
        done = self.kubectl("apply", *scope, "-f", "-", text="---\n".join(json.dumps(document) + "\n" for document in documents))
        assert done.returncode == 0, done.stderr

    def get(self, *arguments: str) -> Any:
        """`kubectl get ... -o json`, parsed. Raises AssertionError with what the server said."""
        done = self.kubectl("get", *arguments, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def create_namespace(self, name: str) -> None:
        """Make a namespace and wait for its default service account, without which no pod is admitted to it."""
        done = self.kubectl("create", "namespace", name)
        assert done.returncode == 0, done.stderr
        done = self.kubectl("wait", "--for=create", "serviceaccount/default", "--namespace", name, "--timeout=110s")
        assert done.returncode == 0, done.stderr

    def client(self) -> ApiClient:
        """A new client of the official library; close it (`with`), it holds sockets."""
        return new_client_from_config(str(self.kubeconfig))


def start(place: Place, programs: Mapping[str, Path], children: Children) -> KubeApi:
    """Start the three and wait until the server answers and its controllers work. Raises ChildFailed."""
    credentials = _Credentials.make(place)
    children.start(_etcd(place, programs["etcd"]))
    children.start(_api_server(place, programs["kube-apiserver"], credentials))
    children.wait_ready(("etcd", "kube-apiserver"), READY_S)
    api = KubeApi(
        url=_url(place),
        kubeconfig=kubeconfig(place, _ADMIN, credentials.tokens[_ADMIN]),
        token=credentials.tokens[_ADMIN],
        certificate=_certificate(place),
        kubectl_program=programs["kubectl"],
    )
    children.start(_controller_manager(place, programs["kube-controller-manager"], credentials, api))
    children.wait_ready(("kube-controller-manager",), READY_S)
    return api


def kubeconfig(place: Place, user: str, token: str) -> Path:
    """Write the file by which a client of this user reaches the server."""
    path = place.folder / f"{user}.kubeconfig"
    cluster = {"server": _url(place), "certificate-authority": str(_certificate(place))}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": cluster}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": user}}],
        "current-context": "tests",
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(document))
    return path


def tokens(place: Place) -> dict[str, str]:
    """The token of each user of a control plane that was started here."""
    rows = (line.split(",") for line in (place.folder / "tokens.csv").read_text().splitlines())
    return {user: token for token, _, user, *_ in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Credentials:
    """What the server knows its clients by, and the key that signs the tokens of service accounts."""

    tokens: Mapping[str, str]
    token_file: Path
    signing_key: Path

    @classmethod
    def make(cls, place: Place) -> "_Credentials":
        place.folder.mkdir(parents=True, exist_ok=True)
        users = _USERS | ({"kubelet": (f"system:node:{place.node}", "system:nodes")} if place.node else {})
        tokens = {user: secrets.token_hex(16) for user in users}
        token_file, signing_key = place.folder / "tokens.csv", place.folder / "service-accounts.key"
        for path in (token_file, signing_key):
            path.touch(mode=0o600)
        token_file.write_text("".join(f'{tokens[user]},{name},{user},"{groups}"\n' for user, (name, groups) in users.items()))
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        signing_key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return cls(tokens=tokens, token_file=token_file, signing_key=signing_key)


def _etcd(place: Place, program: Path) -> Command:
    client, peer = f"http://{HOST}:{place.etcd_port}", f"http://{HOST}:{place.etcd_peer_port}"
    arguments = {
        "name": "tests",
        "data-dir": place.folder / "etcd",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"tests={peer}",
        "unsafe-no-fsync": "true",  # what a crash of the machine loses, nobody wants back
        "log-level": "warn",
    }
    return Command(
        name="etcd", argv=_argv(program, arguments), port=place.etcd_port, ready_url=f"{client}/health", stop_phase=StopPhase.STORE
    )


def _api_server(place: Place, program: Path, credentials: _Credentials) -> Command:
    arguments = {
        "etcd-servers": f"http://{HOST}:{place.etcd_port}",
        "bind-address": place.address,
        "advertise-address": place.address,
        "secure-port": place.port,
        "cert-dir": place.folder,  # it signs its own serving certificate there
        "token-auth-file": credentials.token_file,
        "authorization-mode": "Node,RBAC",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": credentials.signing_key,
        "service-account-signing-key-file": credentials.signing_key,
        "service-cluster-ip-range": SERVICE_RANGE,
        # Pods reach a node's address; nobody may be told to look for us on his own loopback.
        "endpoint-reconciler-type": "lease" if place.node else "none",
        "kubelet-preferred-address-types": "InternalIP",
        "shutdown-delay-duration": "0s",
        "profiling": "false",
    }
    return Command(
        name="kube-apiserver",
        argv=_argv(program, arguments),
        probe=lambda: _why_not_ready(place),
        stop_phase=StopPhase.MARKET,
    )


def _controller_manager(place: Place, program: Path, credentials: _Credentials, api: KubeApi) -> Command:
    arguments = {
        "kubeconfig": kubeconfig(place, "controller-manager", credentials.tokens["controller-manager"]),
        "service-account-private-key-file": credentials.signing_key,
        "root-ca-file": _certificate(place),
        "use-service-account-credentials": "true",  # RBAC gives each controller its rights under its own account
        "leader-elect": "false",
        "secure-port": "0",
        "profiling": "false",
    }
    return Command(
        name="kube-controller-manager",
        argv=_argv(program, arguments),
        probe=lambda: _why_no_service_account(api),
    )


def _argv(program: Path, arguments: Mapping[str, object]) -> tuple[str, ...]:
    return (str(program), *(f"--{name}={value}" for name, value in arguments.items()))


def _url(place: Place) -> str:
    return f"https://{place.address}:{place.port}"


def _certificate(place: Place) -> Path:
    """The server's certificate, followed by the authority's that it made for itself."""
    return place.folder / "apiserver.crt"


def _why_not_ready(place: Place) -> str | None:
    if not (certificate := _certificate(place)).exists():
        return "no serving certificate yet"
    try:
        context = ssl.create_default_context(cafile=str(certificate))
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        with opener.open(f"{_url(place)}/readyz", timeout=_PROBE_S):
            return None
    except urllib.error.HTTPError as error:
        with error:
            return f"/readyz: {error.code} {error.read(2_000).decode(errors='replace')}"
    except OSError as error:
        return f"/readyz: {error}"


def _why_no_service_account(api: KubeApi) -> str | None:
    """A controller manager at work makes the default account, without which no pod is admitted."""
    done = api.kubectl("get", "serviceaccount", "default", "--namespace", "default")
    return done.stderr.strip() if done.returncode else None
