"""Compiles what a start imports, and nothing else: `python bytecode.py MODULE...` imports the modules and compiles all that came with them.

Used by the Dockerfile. All of the packages' bytecode would be a third of an image, and nine tenths of it are never read. The files say that
they need not be compared with their source (PEP 552): times do not survive layers to the fraction of a second, and nobody edits an image.
"""

import importlib
import py_compile
import sys
from pathlib import Path


def main(names: list[str]) -> None:
    """Raises what an import raises: a lock that lacks something fails here and not in a pod."""
    for name in names:
        importlib.import_module(name)
    files = {file for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None)) and file.endswith(".py")}
    installed = [file for file in sorted(files) if Path(file).is_relative_to(sys.prefix)]
    for file in installed:
        py_compile.compile(file, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    print(f"compiled {len(installed)} files")


if __name__ == "__main__":
    main(sys.argv[1:])
