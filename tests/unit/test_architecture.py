"""The import contracts of pyproject.toml hold: layers, pure code without servers, torch in training only."""

import contextlib
import io
from pathlib import Path

from importlinter.cli import lint_imports


def test_every_import_contract_is_kept() -> None:
    """import-linter finds no import that the contracts forbid; its report is the message otherwise."""
    report = io.StringIO()
    with contextlib.redirect_stdout(report):
        status = lint_imports(config_filename=str(Path(__file__).parents[2] / "pyproject.toml"), no_cache=True)
    assert status == 0, report.getvalue()
