"""One real node: scheduler, containerd, kubelet, kube-proxy and DNS beside a control plane. Runs inside isolation.py's namespaces only."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster import control_plane, pause_image
from cluster.control_plane import KubeApi, Place
from cluster.isolation import ADDRESS, DNS_DOMAIN, NODE, cgroup_root
from tandem.domain.errors import Permanent
from tandem.local.processes import Children, Command, StopPhase

_SOCKET = "/run/containerd/containerd.sock"
_POD_RANGE = "10.244.0.0/16"
_CNI_PROGRAMS = Path("/usr/lib/cni")
_IMPORT_S_MAX = 300.0  # sixteen seconds for 250 MB
_READY_S = 120.0
_VOLUMES = 12  # more than a test claims
STORAGE_CLASS = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A running node and its API server."""

    api: KubeApi
    home: Path

    def load(self, archive: Path) -> None:
        """Import the images of an OCI archive, under the names that it gives them. Raises Permanent."""
        _containerd("images", "import", str(archive))

    def images(self) -> list[str]:
        """The names of all images that pods can have."""
        return _containerd("images", "list", "--quiet").split()

    def processes(self, pod_uid: str) -> list[int]:
        """The processes of a pod's containers, its sandbox's left out."""
        return sorted(
            int(row["pid"])
            for row in (_task(line.split()) for line in _containerd("tasks", "list").splitlines()[1:])
            if row["status"] == "RUNNING" and pod_uid in Path(f"/proc/{row['pid']}/cgroup").read_text() and not _is_pause(int(row["pid"]))
        )


def start(home: Path, programs: Mapping[str, Path], children: Children) -> Node:
    """Start everything and wait until the node is Ready. Raises ChildFailed, Permanent."""
    place = Place(folder=home / "kubernetes", port=6443, etcd_port=2379, etcd_peer_port=2380, address=ADDRESS, node=NODE)
    children.start(_containerd_command(home))
    api = control_plane.start(place, programs, children)
    tokens = control_plane.tokens(place)
    children.wait_ready(("containerd",), _READY_S)
    node = Node(api=api, home=home)
    node.load(pause_image.write(programs["pause"], home / "pause.tar"))
    children.start(_kubelet(home, programs["kubelet"], control_plane.kubeconfig(place, "kubelet", tokens["kubelet"])))
    children.start(_scheduler(programs["kube-scheduler"], control_plane.kubeconfig(place, "scheduler", tokens["scheduler"])))
    children.start(_proxy(home, programs["kube-proxy"], control_plane.kubeconfig(place, "proxy", tokens["proxy"])))
    children.start(_dns(home, programs["coredns"], api.kubeconfig))
    children.wait_ready(("kubelet", "kube-scheduler", "kube-proxy", "coredns"), _READY_S)
    api.apply(_STORAGE_CLASS, *(_volume(home / "volumes" / str(number)) for number in range(_VOLUMES)))
    for condition in ("create", "condition=Ready"):
        done = api.kubectl("wait", f"--for={condition}", f"node/{NODE}", f"--timeout={_READY_S:.0f}s", timeout_s=_READY_S + 10)
        if done.returncode:
            raise Permanent(f"the node is not Ready: {done.stderr.strip()}")
    return node


# Pods get the volumes in the order of their arrival; the kubelet gives them to the pod's fsGroup, as it does with a cloud's disks.
_STORAGE_CLASS = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": STORAGE_CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": "kubernetes.io/no-provisioner",
    "volumeBindingMode": "WaitForFirstConsumer",
}


def _volume(folder: Path) -> dict[str, Any]:
    """A volume in a new folder of the node's; as large as anyone asks for, since nothing measures it."""
    folder.mkdir(parents=True)
    here = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}]}
    spec = {
        "capacity": {"storage": "1Ti"},
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": STORAGE_CLASS,
        "local": {"path": str(folder)},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [here]}},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"disk-{folder.name}"}, "spec": spec}


def _containerd_command(home: Path) -> Command:
    network = home / "cni"
    network.mkdir()
    bridge = {
        "type": "bridge",
        "bridge": "pods0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,  # a pod may meet itself behind its service
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": _POD_RANGE}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(network / "leases"),
        },
    }
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
    (network / "10-pods.conflist").write_text(json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": plugins}))
    path = home / "containerd.toml"
    path.write_text(f"""version = 2
root = "{home}/containerd"
state = "/run/containerd/state"
[grpc]
  address = "{_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause_image.NAME}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{_CNI_PROGRAMS}"
    conf_dir = "{network}"
""")
    return Command(
        name="containerd",
        argv=(_program("containerd"), "--config", str(path), "--log-level", "warn"),
        probe=_why_no_containerd,
        stop_phase=StopPhase.STORE,
    )


def _kubelet(home: Path, program: Path, kubeconfig: Path) -> Command:
    (folder := home / "kubelet").mkdir()
    resolver = home / "pods-resolv.conf"
    resolver.write_text(f"nameserver {ADDRESS}\n")
    path = home / "kubelet.yaml"
    document = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        # Only this machine can reach it.
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup_root(home),
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{_SOCKET}",
        "clusterDNS": [ADDRESS],
        "clusterDomain": DNS_DOMAIN,
        "resolvConf": str(resolver),
        # No word of the disk: a full one is the machine's matter, and the kubelet would drop images that nobody could fetch again.
        "evictionHard": {"memory.available": "100Mi"},
        "imageGCHighThresholdPercent": 100,
        "volumePluginDir": str(folder / "plugins"),
        "podLogsDir": str(folder / "pod-logs"),
        "nodeStatusUpdateFrequency": "5s",
    }
    path.write_text(yaml.safe_dump(document))
    options = (f"--config={path}", f"--kubeconfig={kubeconfig}", f"--root-dir={folder}", f"--cert-dir={folder / 'pki'}")
    return Command(
        name="kubelet",
        argv=(str(program), *options, f"--node-ip={ADDRESS}", f"--hostname-override={NODE}"),
        ready_url="http://127.0.0.1:10248/healthz",
    )


def _scheduler(program: Path, kubeconfig: Path) -> Command:
    return Command(
        name="kube-scheduler",
        argv=(str(program), f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--secure-port=10259"),
        port=10259,
    )


def _proxy(home: Path, program: Path, kubeconfig: Path) -> Command:
    path = home / "kube-proxy.yaml"
    document = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "hostnameOverride": NODE,
        "clusterCIDR": _POD_RANGE,
        "iptables": {"minSyncPeriod": "100ms"},
        "conntrack": {"maxPerCore": 0},
    }
    path.write_text(yaml.safe_dump(document))
    return Command(name="kube-proxy", argv=(str(program), f"--config={path}"), ready_url="http://127.0.0.1:10256/healthz")


def _dns(home: Path, program: Path, kubeconfig: Path) -> Command:
    path = home / "Corefile"
    path.write_text(f"""{DNS_DOMAIN}:53 in-addr.arpa:53 {{
  bind {ADDRESS}
  errors
  ready 127.0.0.1:8181
  kubernetes {{
    kubeconfig {kubeconfig}
    ttl 1
  }}
}}
.:53 {{
  bind {ADDRESS}
  errors
  template ANY ANY {{
    rcode NXDOMAIN
  }}
}}
""")
    return Command(name="coredns", argv=(str(program), "-conf", str(path)), ready_url="http://127.0.0.1:8181/ready")


def _containerd(*arguments: str) -> str:
    """What `ctr` answers. Raises Permanent."""
    argv = (_program("ctr"), "--address", _SOCKET, "--namespace", "k8s.io", *arguments)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_IMPORT_S_MAX, check=False)
    if done.returncode:
        raise Permanent(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def _why_no_containerd() -> str | None:
    try:
        _containerd("version")
    except Permanent as error:
        return str(error)
    return None


def _task(row: list[str]) -> dict[str, str]:
    return dict(zip(("task", "pid", "status"), row, strict=True))


def _is_pause(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:2] == [b"/pause", b""]


def _program(name: str) -> str:
    """Raises Permanent if it is not installed."""
    if (path := shutil.which(name)) is None:
        raise Permanent(f"{name} is missing: packages.py names what a node needs")
    return path
