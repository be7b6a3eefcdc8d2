"""Runs the blocks of a page as a reader would: one after the other in the repository's root, in one session of a shell."""

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from documents.blocks import Block

QUICK_S = 120  # a block that takes longer is to be marked slow
SLOW_S = 900  # the first start of a platform fetches Kafka, and a training takes minutes on a busy machine
_GRACE_S = 20
# What a block exports is there in the next one, as in a reader's terminal. The state is written however the block ends.
_SESSION = 'set -eo pipefail; if [ -f "$_STATE" ]; then . "$_STATE"; fi; trap \'export -p > "$_STATE"\' EXIT\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a block. fault: why it failed; empty if it did not."""

    block: Block
    took_s: float
    output: str
    fault: str


def run_page(blocks: Sequence[Block], root: Path, *, slow: bool, environment: Mapping[str, str] | None = None) -> Iterable[Outcome]:
    """Run a page's blocks in order, all in one session. After a failure only those that tidy up are run. slow: the slow ones, too."""
    failed = False
    with TemporaryDirectory() as folder:
        variables = {**os.environ, **(environment or {}), "_STATE": str(Path(folder) / "state")}
        for number, block in enumerate(blocks):
            if (block.slow and not slow) or (failed and not block.always):
                continue
            try:
                outcome = _saved(block, root) if block.file else _run(block, root, variables)
            except KeyboardInterrupt:
                for other in blocks[number + 1 :]:  # a platform in the background would stay
                    if other.always and (slow or not other.slow):
                        _run(other, root, variables)
                raise
            failed = failed or bool(outcome.fault)
            yield outcome


def _saved(block: Block, root: Path) -> Outcome:
    target = root / block.file
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(block.code)
    return Outcome(block=block, took_s=0.0, output="", fault="")


def _run(block: Block, root: Path, variables: Mapping[str, str]) -> Outcome:
    limit_s = SLOW_S if block.slow else QUICK_S
    started_s = time.monotonic()
    with TemporaryDirectory() as folder:
        out = Path(folder) / "out"  # a file and no pipe: what a block leaves in the background would keep a pipe open
        with out.open("wb") as sink:
            child = subprocess.Popen(
                ["bash", "-c", _SESSION + block.code],
                cwd=root,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                status = child.wait(limit_s)
                fault = f"exit code {status}" if status else ""
            except subprocess.TimeoutExpired:
                fault = f"not done after {limit_s} s"
                _end(child)
            except BaseException:
                _end(child)
                raise
        output = out.read_text(errors="replace")
    if not fault and block.expect not in output:
        fault = f"its output does not hold {block.expect!r}"
    return Outcome(block=block, took_s=time.monotonic() - started_s, output=output, fault=fault)


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End the block and what it waits for, kindly first: a platform stops its servers."""
    for kind in (signal.SIGINT, signal.SIGKILL):
        os.killpg(child.pid, kind)
        try:
            child.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            continue
        return
