"""Plotly's code without what this dashboard never draws: maps, surfaces, WebGL. They are two thirds of it, to read and to compile.

Streamlit's file is a list of modules that name each other; what the kept kinds of trace do not reach is left out. Whether that is right
has been looked at in a browser for one file only: any other is sent as it is.
"""

import re
from collections.abc import Mapping
from hashlib import sha256

TRACES = ("scatter", "bar", "candlestick")  # what figures.py draws with; scatter is of Plotly's core
_KNOWN = "8cb9b72292d50f4ac26b35921c6209897f2a946d03214aa63214e86f129a8cb1"  # streamlit 1.67.0's, with plotly.js 4.2.0
_ALWAYS = "lib/core.js"
_MODULE = re.compile(r'([\w$]+)=[\w$]+\(\{"([^"]+)"\((?:\w+(?:,\w+)*)?\)\{')
_CALL = re.compile(r"(?<![\w$.])([\w$]+)\(\)")
_LIST = re.compile(r"\.register\(\[([\w$(),]+)\]\)")
_INDEX = '"lib/index.js"('
_BRACE = re.compile(r"[{}]")


def trimmed(code: bytes) -> bytes:
    """The chart's code with the kept kinds of trace only; as it came where it is not the file that this was tried on."""
    return _without(code.decode()).encode() if sha256(code).hexdigest() == _KNOWN else code


def _without(code: str) -> str:
    index = code.index(_INDEX)
    heads = [head for head in _MODULE.finditer(code) if head.start() < index]
    spans = {head[1]: (head.start(), after) for head, after in zip(heads, [*(head.start() for head in heads[1:]), index], strict=True)}
    name_of = {head[2]: head[1] for head in heads}
    listed = [name_of[f"lib/{trace}.js"] for trace in TRACES if f"lib/{trace}.js" in name_of]
    needed = _reached([name_of[_ALWAYS], *listed], {name: code[slice(*span)] for name, span in spans.items()})
    parts, at = [], 0
    for name, (start, after) in spans.items():
        if name not in needed:
            parts.append(f"{code[at:start]}{name}=0")
            at = _end(code, start, after)
    parts.append(_LIST.sub(f".register([{','.join(f'{name}()' for name in listed)}])", code[at:], count=1))
    return "".join(parts)


def _reached(roots: list[str], bodies: Mapping[str, str]) -> set[str]:
    """Modules that these need. A local name that equals a module's keeps that one, too: too much is never wrong."""
    reached, waiting = set[str](), list(roots)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [called for called in _CALL.findall(bodies[name]) if called in bodies]
    return reached


def _end(code: str, start: int, after: int) -> int:
    """Behind a module, whose neighbour may be functions that others need; after: where the next module begins."""
    depth = 0
    for brace in _BRACE.finditer(code, start, after):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return code.index(")", brace.start()) + 1
    raise ValueError(f"a module at {start} has no end")
