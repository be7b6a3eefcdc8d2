"""Prometheus' and Alertmanager's programs, from Debian's packages: installed where we are root and apt-get is there, else tests skip."""

import os
import shutil
import subprocess

import pytest

_PACKAGES = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
}
_INSTALL_S_MAX = 600


def program(name: str) -> str:
    """The path of a program; skips the test, naming the package, where it cannot be had."""
    if (found := shutil.which(name)) is None:
        _install(_PACKAGES[name])
        found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not here: install the package {_PACKAGES[name]}")
    return found


def _install(package: str) -> None:
    """By apt-get, as root; without a word where that is not possible. A service that the package brings is not started."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for arguments in (("update", "--quiet"), ("install", "--quiet", "--yes", "--no-install-recommends", package)):
        subprocess.run(("apt-get", *arguments), env=environ, capture_output=True, timeout=_INSTALL_S_MAX, check=False)
