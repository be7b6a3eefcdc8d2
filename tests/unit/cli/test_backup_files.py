"""The manifest of a backup: only a whole one is read, and every file in it lies in the backup."""

import json
from pathlib import Path
from typing import Any

import pytest

from tandem.adapters.kafka_copy import TopicCopy
from tandem.cli.backup_files import FORMAT, MANIFEST, Manifest, digests, read_manifest
from tandem.domain.errors import Permanent

TOPIC = TopicCopy(
    topic="tandem.control",
    file="tandem.control.msgpack.gz",
    configs={"cleanup.policy": "compact"},
    first_offset=0,
    end_offset=3,
    records=2,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A backup of two files."""
    (tmp_path / "topics").mkdir()
    (tmp_path / "tandem.pgdump").write_bytes(b"dump")
    (tmp_path / "topics" / TOPIC.file).write_bytes(b"records")
    manifest = Manifest(
        format=FORMAT,
        version="0.1.0",
        taken_utc="2026-11-20T10:00:00Z",
        revision="0008",
        rows={"entries": 3},
        heads={"paper": "ab"},
        registry_rows={},
        topics=(TOPIC,),
        groups={"tandem.portfolio.paper": {"tandem.forecasts": 6}},
        files=digests(tmp_path),
    )
    manifest.write(tmp_path)
    return tmp_path


def changed(folder: Path, **fields: Any) -> None:
    """The manifest with other fields."""
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_what_was_written_is_read(folder: Path) -> None:
    """Topics as records, files with their digests, the manifest itself not among them."""
    manifest = read_manifest(folder)
    assert manifest.topics == (TOPIC,)
    assert manifest.files.keys() == {"tandem.pgdump", f"topics/{TOPIC.file}"}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"format": FORMAT + 1}, f"has the format {FORMAT + 1}"),
        ({"files": {"../../etc/passwd": "00"}}, "must lie in the backup"),
        ({"files": {"/etc/passwd": "00"}}, "must lie in the backup"),
        ({"files": {"gone": "00"}}, "gone is missing"),
        ({"files": {"tandem.pgdump": "00"}}, "tandem.pgdump has the SHA-256"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_what_is_not_whole_is_refused(folder: Path, fields: dict[str, Any], reason: str) -> None:
    """Each fault is named."""
    changed(folder, **fields)
    with pytest.raises(Permanent, match=reason):
        read_manifest(folder)


def test_a_folder_that_was_cut_short_is_no_backup(folder: Path) -> None:
    """The manifest is written last."""
    (folder / MANIFEST).unlink()
    with pytest.raises(Permanent, match="is no backup"):
        read_manifest(folder)
