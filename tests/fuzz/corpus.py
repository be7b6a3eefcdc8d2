"""How both fuzzers begin: seeds on disk, a bound on memory that is their own."""

import resource
import sys
from collections.abc import Callable
from pathlib import Path

import atheris

_ADDRESSES_BYTES = 8 * 2**30  # of which the libraries' own maps take one or two


def fuzz(one_input: Callable[[bytes], None], seeds: dict[str, bytes]) -> None:
    """Put the seeds into the folder that the command line names first, and fuzz until its runs are done."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds.items():
        (folder / name).write_bytes(data)
    # libFuzzer's own limit is on the peak resident size, which the kernel hands on from whoever started the process: under a large
    # parent it ends a small fuzzer. A reader that takes all of these addresses raises MemoryError, which is a finding with its input.
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES_BYTES, _ADDRESSES_BYTES))
    atheris.Setup([*sys.argv, "-rss_limit_mb=0"], one_input)
    atheris.Fuzz()
