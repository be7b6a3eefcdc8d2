"""`make docs-check`: runs every block of README.md and docs/ that is marked runnable; 1 if one fails or a page has a bad mark."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from documents.blocks import BadMark, Block, blocks_of
from documents.runner import Outcome, run_page
from free_ports import free_base

_LINES_MAX = 40  # of a failed block's output


def pages_of(root: Path, names: Sequence[str]) -> list[Path]:
    """The pages asked for, else all: README.md and docs/."""
    return [root / name for name in names] if names else [*sorted(root.glob("*.md")), *sorted(root.glob("docs/**/*.md"))]


def check(root: Path, pages: Sequence[Path], *, slow: bool) -> int:
    """Run all, print a line for each block; how many failed. Raises BadMark before the first is run."""
    found: list[tuple[Block, ...]] = [blocks_of(str(page.relative_to(root)), page.read_text()) for page in pages]
    failed = ran = 0
    for blocks in found:
        environment = {"TANDEM_PORT_BASE": str(free_base())} if "TANDEM_PORT_BASE" not in os.environ else {}
        for outcome in run_page(blocks, root, slow=slow, environment=environment):
            _print(outcome)
            ran += 1
            failed += bool(outcome.fault)
    left = 0 if slow else sum(block.slow for blocks in found for block in blocks)
    print(f"{ran} blocks run, {failed} failed" + (f", {left} slow ones left out (SLOW=1 runs them)" if left else ""), flush=True)
    return failed


def _print(outcome: Outcome) -> None:
    block = outcome.block
    what = f"saved as {block.file}" if block.file else block.code.strip().splitlines()[0]
    print(f"{'FAIL' if outcome.fault else 'ok':<5}{outcome.took_s:7.1f} s  {block.page}:{block.line}  {what}", flush=True)
    if outcome.fault:
        print(f"      {outcome.fault}; the end of its output:", flush=True)
        for line in outcome.output.splitlines()[-_LINES_MAX:]:
            print(f"      {line}", flush=True)


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="documents", description=__doc__)
    parser.add_argument("pages", nargs="*", help="pages under the repository's root; all by default")
    parser.add_argument("--slow", action="store_true", help="also what starts a platform or trains")
    chosen = parser.parse_args(arguments)
    root = Path.cwd()
    if missing := [name for name in chosen.pages if not (root / name).is_file()]:
        print(f"error: no page {', '.join(missing)} under {root}; a page is named like docs/tutorial.md", file=sys.stderr)
        return 2
    try:
        return int(check(root, pages_of(root, chosen.pages), slow=chosen.slow) > 0)
    except BadMark as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
