"""What a backup is: a folder with one manifest, which names every file with its digest. Written by backup.py, read by restore.py."""

import hashlib
from pathlib import Path, PurePosixPath
from typing import Annotated

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from tandem.adapters.kafka_copy import TopicCopy
from tandem.domain.errors import Permanent

MANIFEST = "backup.json"
FORMAT = 1
LEDGER, REGISTRY, TOPICS, ARTIFACTS, HOME = "tandem.pgdump", "mlflow.pgdump", "topics", "artifacts", "home"


def _inside(path: str) -> str:
    """A path that stays in the folder."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise ValueError(f"found {path!r}, must lie in the backup")
    return path


class Manifest(BaseModel):
    """backup.json. Counts and heads are of the same moment as the dump of the database."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    version: str  # of Tandem
    taken_utc: str
    revision: str  # of the ledger's schema
    rows: dict[str, int]  # of each table of the ledger's database
    heads: dict[str, str]  # newest link of each book's audit chain
    registry_rows: dict[str, int]
    topics: tuple[TopicCopy, ...]
    groups: dict[str, dict[str, int]]
    files: dict[Annotated[str, AfterValidator(_inside)], str]  # relative path -> SHA-256

    def write(self, folder: Path) -> None:
        """Store it, last of all: a folder without it is no backup."""
        (folder / MANIFEST).write_bytes(orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_INDENT_2))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a backup whose files are all as they were written. Raises Permanent, naming each that is not."""
    path = folder / MANIFEST
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise Permanent(f"{folder} is no backup, or one that was cut short: it has no {MANIFEST}") from None
    except ValidationError as error:
        raise Permanent(f"{path} cannot be read: {error.errors()[0]['loc']}: {error.errors()[0]['msg']}") from error
    if manifest.format != FORMAT:
        raise Permanent(f"{path} has the format {manifest.format}, this version reads {FORMAT}")
    faults = []
    for name, wanted in manifest.files.items():
        file = folder / name
        if not file.is_file():
            faults.append(f"{name} is missing")
        elif (found := digest(file)) != wanted:
            faults.append(f"{name} has the SHA-256 {found[:12]}, the manifest says {wanted[:12]}")
    if faults:
        raise Permanent(f"{folder} is not as it was written: {'; '.join(faults[:5])}{' and more' if len(faults) > 5 else ''}")
    return manifest


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below the folder, the manifest left out."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): digest(path) for path in files if path != folder / MANIFEST}


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
