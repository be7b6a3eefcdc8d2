"""`make verify`: what is generated, locked or configured in the repository agrees with what it comes from.

Run in the repository's root. Prints one line a check; all run, and the exit code is 1 if one found a fault. Changes no file.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tandem.adapters.config_files import load_declared, load_sectors
from tandem.cli.generate import pages
from tandem.domain.errors import TandemError

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)
# What would tie a lock to one index, or publish the address of a private one.
_HOST = re.compile(r"https?://|git\+|--(?:extra-)?index|--find-links|--trusted-host| @ ")
_NO_INDEX = ("Failed to fetch", "network was disabled", "error sending request")
_LOCKS = {"run.lock": ("train", "local", "operator"), "dev.lock": ("train", "local", "operator", "dev")}
_COMPILE_S_MAX = 300.0


def locks_satisfy_project(root: Path) -> list[str]:
    """Each requirement of pyproject.toml is pinned in the locks at a version that it allows. Needs no network."""
    project: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    faults = []
    for lock, extras in _LOCKS.items():
        pins = {canonicalize_name(name): version for name, version in _PIN.findall((root / "requirements" / lock).read_text())}
        wanted = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
        for requirement in map(Requirement, wanted):
            pin = pins.get(canonicalize_name(requirement.name))
            if pin is None or not requirement.specifier.contains(pin, prereleases=True):
                faults.append(f"requirements/{lock}: has {requirement.name} {pin}, pyproject.toml wants {requirement}; run `make lock`")
    return faults


def locks_name_no_host(root: Path) -> list[str]:
    """No file of requirements/ names an index, a URL or a host."""
    return [
        f"{path.relative_to(root)}:{number}: names a place to fetch from: {line.strip()}"
        for path in sorted((root / "requirements").iterdir())
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if _HOST.search(line)
    ]


def locks_are_resolved(root: Path) -> list[str]:
    """Resolving again, with the pins as they are, changes no lock. Without a package index it says so and passes."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(root / "pyproject.toml", folder)
        shutil.copytree(root / "requirements", Path(folder) / "requirements")
        uv = Path(sys.executable).parent / "uv"
        # The recipe is the Makefile's, so that the options of the resolution are written once.
        command = ["make", "--no-print-directory", "--silent", "-C", folder, "-f", str(root / "Makefile"), "lock", f"UV={uv}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_S_MAX, check=False)  # noqa: S603  (our own Makefile)
        if done.returncode and any(sign in done.stderr for sign in _NO_INDEX):
            typer.echo("      no package index can be reached: whether the locks are resolved afresh was not checked")
            return []
        if done.returncode:
            return [f"make lock failed: {done.stderr.strip()}"]
        return [
            f"requirements/{lock}: differs from what pyproject.toml resolves to; run `make lock`"
            for lock in _LOCKS
            if (Path(folder) / "requirements" / lock).read_text() != (root / "requirements" / lock).read_text()
        ]


def configuration_loads(root: Path) -> list[str]:
    """config/sectors.yaml and every manifest of config/pairs are valid, and the preset `pairs` holds the legs of the declared pairs."""
    try:
        sectors, declared = load_sectors(root / "config"), load_declared(root / "config")
    except TandemError as error:
        return str(error).splitlines()
    legs = {leg for pair in declared for leg in (pair.spec.leg_a, pair.spec.leg_b)}
    faults = [
        f"{pair.where}: no sector lists {leg}" for pair in declared for leg in pair.manifest.spec.legs if sectors.sector_of(leg) is None
    ]
    if off := legs ^ set(sectors.presets.get("pairs", ())):
        faults.append(f"config/sectors.yaml: the preset pairs and the legs of config/pairs differ in {', '.join(sorted(off))}")
    return faults


def pages_are_generated(root: Path) -> list[str]:
    """docs/reference says what the code says."""
    return [
        f"{path}: differs from what the code says; run `make generate`"
        for path, text in pages().items()
        if not (root / path).is_file() or (root / path).read_text() != text
    ]


CHECKS: tuple[Callable[[Path], list[str]], ...] = (
    configuration_loads,
    pages_are_generated,
    locks_name_no_host,
    locks_satisfy_project,
    locks_are_resolved,
)


def main(root: Path) -> int:
    """Run all checks, print what they found; 1 if there was a fault."""
    if not (root / "pyproject.toml").is_file():
        typer.echo(f"error: {root} has no pyproject.toml: run this in the repository's root", err=True)
        return 2
    failed = False
    for check in CHECKS:
        faults = check(root)
        failed |= bool(faults)
        typer.echo(f"{'FAIL' if faults else 'ok':<5} {check.__name__.replace('_', ' ')}")
        for fault in faults:
            typer.echo(f"      {fault}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(Path.cwd()))
