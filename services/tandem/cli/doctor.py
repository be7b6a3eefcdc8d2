"""`tandem doctor`: looks at everything that the platform needs, and says what to do. Changes nothing. Exit code 1: a fault."""

from dataclasses import asdict
from typing import Annotated

import typer

from tandem.cli.checks import CHECKS, Finding, Patient, Verdict
from tandem.cli.output import print_json
from tandem.cli.running import Home, settings_of
from tandem.domain.errors import BadSetting
from tandem.local.endpoints import PORT_BASE

_COLOURS = {Verdict.OK: typer.colors.GREEN, Verdict.WARNING: typer.colors.YELLOW, Verdict.FAULT: typer.colors.RED}
_WIDTH = len("warning")


def doctor(
    *,
    home: Home = None,
    port_base: Annotated[
        int,
        typer.Option(
            "--port-base", envvar="TANDEM_PORT_BASE", min=1024, max=65_000, help="The ports that are looked at, where nothing runs."
        ),
    ] = PORT_BASE,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check versions, programs, ports, servers, credentials, data and disk, and say what to do. Exit code 1: something must be mended."""
    findings = examine(home, port_base)
    faults = sum(finding.verdict is Verdict.FAULT for finding in findings)
    if json:
        print_json({"faults": faults, "findings": [asdict(finding) for finding in findings]})
    else:
        _print(findings, faults)
    if faults:
        raise typer.Exit(1)


def examine(home: Home, port_base: int) -> list[Finding]:
    """All that was found. Settings that cannot be used are the only finding: the rest depends on them."""
    try:
        patient = Patient(settings=settings_of(home), port_base=port_base)
    except BadSetting as error:
        remedy = "correct the variable; docs/reference/settings.md has them all"
        return [Finding(subject="settings", verdict=Verdict.FAULT, found=str(error), remedy=remedy)]
    return [finding for check in CHECKS for finding in check(patient)]


def _print(findings: list[Finding], faults: int) -> None:
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        mark = typer.style(f"{finding.verdict.value:<{_WIDTH}}", fg=_COLOURS[finding.verdict])
        typer.echo(f"{mark}  {finding.subject:<{width}}  {finding.found}")
        if finding.remedy:
            typer.echo(f"{'':{_WIDTH}}  {'':{width}}  -> {finding.remedy}")
    warnings = sum(finding.verdict is Verdict.WARNING for finding in findings)
    typer.echo(f"{len(findings)} looked at, {faults} to be mended, {warnings} to know of")
