"""What `tandem up --detach` shows of what the platform says behind it."""

from pathlib import Path

import pytest

from tandem.cli.platform import tell_lines


def test_lines_are_told_once_and_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line that is being written waits for its end."""
    log = tmp_path / "supervisor.log"
    log.write_text("redis is ready\nkafka is re")
    shown = tell_lines(log, 0)
    assert capsys.readouterr().err == "redis is ready\n"
    assert tell_lines(log, shown) == shown
    assert not capsys.readouterr().err
    with log.open("a") as out:
        out.write("ady\nmlflow is ready\n")
    assert tell_lines(log, shown) == log.stat().st_size
    assert capsys.readouterr().err == "kafka is ready\nmlflow is ready\n"
