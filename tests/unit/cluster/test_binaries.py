"""Which programs of Kubernetes are taken as they are found, and what is said when none can be had."""

import re
from pathlib import Path

import pytest

from cluster import binaries
from cluster.binaries import CONTROL_PLANE, COREDNS_VERSION, ETCD_VERSION, KUBERNETES_VERSION, NODE, Program
from tandem.domain.errors import Permanent

API_SERVER = next(program for program in CONTROL_PLANE if program.name == "kube-apiserver")


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No program but those that a test makes."""
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setattr(binaries, "_GO_ELSEWHERE", str(tmp_path / "nowhere"))


def program(path: Path, told: str) -> Path:
    """A program that prints one line, whatever it is asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {told}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("folder", ["assets", "path"])
def test_a_program_of_the_right_version_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    """From envtest's folder and from PATH."""
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    found = program(tmp_path / folder / "kube-apiserver", "Kubernetes v1.34.9")
    assert binaries.locate([API_SERVER]) == {"kube-apiserver": found}


def test_envtests_folder_goes_before_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names a folder wants what is in it."""
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    program(tmp_path / "path" / "kube-apiserver", "Kubernetes v1.34.9")
    named = program(tmp_path / "assets" / "kube-apiserver", "Kubernetes v1.34.1")
    assert binaries.locate([API_SERVER])["kube-apiserver"] == named


@pytest.mark.parametrize("told", ["Kubernetes v1.32.4", "Kubernetes v1.134.4", ""])
def test_another_version_gives_way_to_our_own_build(tmp_path: Path, told: str) -> None:
    """It would refuse what the tests do, or take what they must see refused."""
    program(tmp_path / "path" / "kube-apiserver", told)
    built = program(API_SERVER.path, "Kubernetes v1.34.4")
    assert built.is_relative_to(tmp_path / "cache" / "tandem" / f"kubernetes-{KUBERNETES_VERSION}")
    assert binaries.locate([API_SERVER]) == {"kube-apiserver": built}


def test_without_go_it_is_said_how_to_go_on() -> None:
    """Go, or programs that somebody else has built."""
    with pytest.raises(Permanent, match=r"Go is missing.*install Go.*or set KUBEBUILDER_ASSETS to a folder with Kubernetes v1\.34"):
        binaries.locate([API_SERVER])


def test_an_old_go_is_named(tmp_path: Path) -> None:
    """With its version and the one that is needed."""
    program(tmp_path / "path" / "go", "go1.19.8")
    with pytest.raises(Permanent, match=r"is go1\.19\.8, must be go1\.24 or newer"):
        binaries.locate([API_SERVER])


def test_a_failed_build_shows_what_go_said(tmp_path: Path) -> None:
    """And leaves nothing that could be taken for a program."""
    go = program(tmp_path / "path" / "go", "go1.26.8")
    go.write_text('#!/bin/sh\n[ "$1" = env ] && echo go1.26.8 && exit\necho no such module >&2\nexit 1\n')
    with pytest.raises(Permanent, match=r"kube-apiserver v1\.34\.4 cannot be built: (?s:.)*no such module"):
        binaries.locate([API_SERVER])
    assert not list(API_SERVER.path.parent.glob("kube*"))


@pytest.mark.parametrize(
    ("module", "name", "version"),
    [
        ("kubernetes", "k8s.io/kubernetes", KUBERNETES_VERSION),
        ("etcd", "go.etcd.io/etcd/server/v3", ETCD_VERSION),
        ("coredns", "github.com/coredns/coredns", COREDNS_VERSION),
    ],
)
def test_a_module_pins_the_version_that_the_cache_is_named_by(module: str, name: str, version: str) -> None:
    """Else a cache would hold one version under the name of another."""
    text = (Path(binaries.__file__).parent / "go" / module / "go.mod").read_text()
    assert re.search(rf"^\s*(?:require )?{re.escape(name)} {re.escape(version)}$", text, re.MULTILINE)


def test_programs_of_kubernetes_know_their_version() -> None:
    """Without it they call themselves v0.0.0, and charts refuse them."""
    assert f"-X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}" in API_SERVER.link_flags
    others = [one for one in (*CONTROL_PLANE, *NODE) if one.module != "kubernetes"]
    assert {one.link_flags for one in others} == {"-s -w"}


def test_a_program_of_our_own_is_built_anew_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its place in the cache follows its text."""
    monkeypatch.setattr(binaries, "_GO", tmp_path)
    own = Program(name="own", module="own", package=".", version="v1")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "main.go").write_text("package main\n")
    before = own.path
    (tmp_path / "own" / "main.go").write_text("package main // other\n")
    assert own.path != before
