"""Lays the compiled kernels that an image brings along where numba looks for them, and may write, in a container that is read-only.

numba takes no cache that it cannot write to, and each new pod has an empty /tmp: without this every training would begin with compiling.
Called at the start of each Python of the trainer's image, by a .pth file; does nothing where TANDEM_KERNELS is not set. The kernels are of
the processor that the image was built on. On another one numba leaves them aside and compiles its own beside them.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path


def lay_out(environ: Mapping[str, str] = os.environ) -> bool:
    """Copy the folder TANDEM_KERNELS to NUMBA_CACHE_DIR unless that exists. True if it did.

    Never raises OSError: kernels that cannot be laid out are compiled.
    """
    source, target = environ.get("TANDEM_KERNELS"), environ.get("NUMBA_CACHE_DIR")
    if not source or not target or Path(target).exists() or not Path(source).is_dir():
        return False
    try:
        return _copy(Path(source), Path(target))
    except OSError as error:
        print(f"tandem: the compiled kernels of {source} cannot be laid out in {target}: {error}", file=sys.stderr)
        return False


def _copy(source: Path, target: Path) -> bool:
    """All at once or not at all: another process may start at the same time."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".kernels-") as folder:
        partial = Path(folder) / target.name
        shutil.copytree(source, partial)
        try:
            partial.rename(target)
        except OSError:
            if not target.exists():
                raise
            return False  # another process was faster
    return True
