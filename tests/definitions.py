"""The definitions that the chart ships, installed in a real API server."""

from pathlib import Path

from cluster.control_plane import KubeApi

DEFINITIONS = Path(__file__).parents[1] / "charts/tandem/files/crds"
_ESTABLISHED_S = 110


def install_definitions(kube_api: KubeApi) -> None:
    """Install them and wait until the server serves the kinds. Again is no harm."""
    for arguments in (
        ("apply", "--server-side", "--force-conflicts", "--field-manager=tests"),
        ("wait", "--for=condition=Established", f"--timeout={_ESTABLISHED_S}s"),
    ):
        done = kube_api.kubectl(*arguments, "--filename", str(DEFINITIONS))
        assert done.returncode == 0, done.stderr
