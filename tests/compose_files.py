"""docker-compose/grafana.yaml as the container engine would read it: mounts, and commands over folders of a test's own."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docker-compose/grafana.yaml"
DOCUMENT: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
_VARIABLE = re.compile(r"\$\{[A-Z_]+:-([^}]+)\}")


def mounts(service: str) -> dict[str, Path | str]:
    """By the place in the container: a folder of the repository, or the name of a volume."""
    found: dict[str, Path | str] = {}
    for volume in SERVICES[service].get("volumes", ()):
        source, target, *mode = _VARIABLE.sub(r"\1", volume).split(":")
        if source in DOCUMENT["volumes"]:
            found[target] = str(source)
            continue
        assert mode == ["ro"], f"{volume}: a container writes into volumes only"
        found[target] = (FILE.parent / source).resolve()
    return found


def command(service: str, folders: Mapping[str, Path], port: int) -> list[str]:
    """The service's arguments with its folders elsewhere, and another port of the loopback."""
    arguments = [re.sub(r"^(--web.listen-address=127\.0\.0\.1:)\d+$", rf"\g<1>{port}", word) for word in SERVICES[service]["command"]]
    for inside, outside in folders.items():
        arguments = [word.replace(f"={inside}", f"={outside}") for word in arguments]
    return arguments
