"""No bytes make a decoder do anything but return a record or raise BadRecord: by Atheris, and by documents with one thing wrong in them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.codec import one_input, seeds
from tandem.adapters.codec import decode_control, decode_forecasts, decode_tick_record
from tandem.domain.errors import BadRecord

RUNS = 20_000  # two seconds of fuzzing beside the start; `python -m fuzz.codec FOLDER` goes on for as long as one likes
TESTS = Path(__file__).parents[1]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def test_atheris_finds_nothing(tmp_path: Path) -> None:
    environ = os.environ | {"PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-m", "fuzz.codec", str(tmp_path / "corpus"), f"-runs={RUNS}", "-seed=1", f"-artifact_prefix={tmp_path}/"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"Done {RUNS} runs" in done.stderr


@given(st.binary(max_size=200), st.sampled_from(sorted(seeds())), st.integers(0, 300), st.integers(0, 40))
def test_bytes_cut_out_of_and_put_into_a_record(noise: bytes, name: str, place: int, cut: int) -> None:
    """Truncated, overwritten and lengthened records."""
    data = seeds()[name]
    one_input(data[:place] + noise + data[place + cut :])


def _paths(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(deeper for key, child in children for deeper in _paths(child, (*path, key)))]


@pytest.mark.parametrize("name", ["forecasts", "control", "heartbeat", "frame"])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_one_wrong_thing_in_a_document_is_refused_or_harmless(name: str, data: st.DataObject) -> None:
    """Anything of any type in any place, or nothing there."""
    record = seeds()[name][1:]
    head = 12 if name in ("heartbeat", "frame") else 0
    length = int.from_bytes(record[6:8], "little") if head else len(record)
    document = orjson.loads(record[head : head + length])
    path = data.draw(st.sampled_from(_paths(document)[1:]))
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    if data.draw(st.booleans()):
        del holder[path[-1]]
    else:
        holder[path[-1]] = data.draw(_JSON)
    try:
        body = orjson.dumps(document)
    except TypeError:
        return  # a whole number that JSON's writer does not take
    if head:
        ticks = record[head + length + (-(head + length) % 8) :]
        body = record[:6] + len(body).to_bytes(2, "little") + record[8:head] + body + b" " * (-(head + len(body)) % 8) + ticks
    decode = {"forecasts": decode_forecasts, "control": decode_control}.get(name, decode_tick_record)
    try:
        decode(body)
    except BadRecord:
        return
