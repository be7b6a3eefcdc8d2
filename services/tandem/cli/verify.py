"""`make verify`: what is generated, locked or configured in the repository agrees with what it comes from.

Run in the repository's root. Prints one line a check; all run, and the exit code is 1 if one found a fault. Changes no file.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import typer

from tandem.adapters.config_files import load_declared, load_sectors
from tandem.cli.generate import DASHBOARDS, DEFINITIONS, generated
from tandem.cli.locks import locks_agree, locks_are_resolved, locks_name_no_host, locks_satisfy_project
from tandem.domain.errors import TandemError


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


def generated_files_agree(root: Path) -> list[str]:
    """docs/reference and the chart's definitions and dashboards say what the code says, and the chart installs no other ones."""
    texts = generated(root)
    faults = [
        f"{path}: differs from what the code says; run `make generate`"
        for path, text in texts.items()
        if not (root / path).is_file() or (root / path).read_text() != text
    ]
    found = (path.relative_to(root) for folder in (DEFINITIONS, DASHBOARDS) for path in sorted((root / folder).glob("*")))
    return faults + [f"{path}: nothing in the code makes this file; remove it" for path in found if path not in texts]


CHECKS: tuple[Callable[[Path], list[str]], ...] = (
    configuration_loads,
    generated_files_agree,
    locks_name_no_host,
    locks_satisfy_project,
    locks_agree,
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
