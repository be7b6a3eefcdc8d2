"""Wire faults: what can go wrong between a broker and its clients while the exchange itself does what it should. Which, when, how often.

A fault waits until a request or a frame that it fits comes by, is done `count` times, and is over. Armed by `--faults FILE`, by
`--faults seed:N` and by POST /tandem/faults (faults_api.py); done to REST by faults_rest.py, to the websockets by faults_stream.py. What
happens in the market or at the exchange itself is a directive (docs/exchange.md), not a wire fault.
"""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tandem.adapters.telemetry import counter
from tandem.domain.errors import BadSetting

COUNT_MAX, ARMED_MAX = 10_000, 1_000
SECONDS_MAX = 120.0


class _Fault(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    after: int = Field(default=0, ge=0, le=COUNT_MAX, description="Let so many that it fits pass first.")
    count: int = Field(default=1, ge=1, le=COUNT_MAX, description="Do it to so many.")


class RestFault(_Fault):
    """A REST answer that is not what happened.

    lost_504: done, and answered 504. torn: done, and the connection ends in the midst of the answer. refused_502: not done, and 502 with a
    page of HTML. lost_502: done, and the same page. error_500: not done, 500 in JSON. limited: not done, 429 with X-RateLimit headers that
    say that nothing is left. slow: done, and answered after `seconds`, so that updates overtake it. hang: not done, and no answer before
    the client gives up or `seconds` have passed. garbled: done, and 200 with a body that is no JSON. empty: done, and 200 with an
    object that says nothing.
    """

    rest: Literal["lost_504", "torn", "refused_502", "lost_502", "error_500", "limited", "slow", "hang", "garbled", "empty"]
    method: Literal["GET", "POST", "PATCH", "DELETE", "*"] = "POST"
    path: str = Field(default="/v2/orders", max_length=100, description="What the path begins with.")
    seconds: float = Field(default=1.0, gt=0, le=SECONDS_MAX)


class StreamFault(_Fault):
    """A frame of data on a websocket that does not come as it should. Frames that only steer the stream are never counted.

    drop: it is lost, on a stream that goes on. duplicate: it comes twice. swap: it comes after the next one. late: it and all after it
    come after `seconds`. shuffle: the messages in it in another order. unknown: messages of an unknown kind come with it, and its own
    have fields that nobody knows. bad_values: messages come with it whose values cannot be (`bad_messages` lists them). garbled: bytes
    come before it that are no message. truncated: half a frame comes before it. oversized: a frame comes before it that is larger than
    a client takes, which ends the connection. close: the stream is closed before it, with `code`. error: an error frame with `code`
    comes before it; 406 and 407 close the stream. bust, misprint: a trade in it never was, or has a wrong price, and a cancel or a
    correction that says so is its last message (on the market's stream; faults_prints.py). unpriced: after each trade in it comes one at
    a wrong price whose sale conditions let it set none.
    """

    # fmt: off
    stream: Literal[
        "drop", "duplicate", "swap", "late", "shuffle", "unknown", "bad_values", "garbled", "truncated", "oversized", "close", "error",
        "bust", "misprint", "unpriced",
    ]
    # fmt: on
    socket: Literal["market", "updates"] = "market"
    seconds: float = Field(default=1.0, gt=0, le=SECONDS_MAX)
    code: int = Field(default=0, ge=0, le=4999)


WireFault = RestFault | StreamFault
# By seed: what a client that asks about unknown orders, drops doubles and reconnects has to survive without a change in what it does.
_SEEDED_REST = ("lost_504", "torn", "refused_502", "lost_502", "error_500", "limited", "slow", "empty")
_SEEDED_STREAM = ("duplicate", "shuffle", "unknown", "garbled", "truncated", "oversized", "close")


class Armory:
    """The faults that wait, in the order in which they were armed, and what has been done."""

    def __init__(self, faults: Sequence[WireFault] = ()) -> None:
        self._waiting: list[WireFault] = list(faults)
        self.done: dict[str, int] = {}

    @property
    def waiting(self) -> tuple[WireFault, ...]:
        """What is still to be done."""
        return tuple(self._waiting)

    def arm(self, faults: Sequence[WireFault]) -> None:
        """Add faults. Raises BadSetting when too many wait."""
        if len(self._waiting) + len(faults) > ARMED_MAX:
            raise BadSetting(f"{len(self._waiting)} wire faults wait, {len(faults)} more are too many: at most {ARMED_MAX}")
        self._waiting.extend(faults)

    def disarm(self) -> None:
        """Forget what waits."""
        self._waiting.clear()

    def rest(self, method: str, path: str) -> RestFault | None:
        """What is to be done to this request."""
        for place, fault in enumerate(self._waiting):
            if isinstance(fault, RestFault) and fault.method in ("*", method) and path.startswith(fault.path):
                taken = self._take(place, fault, fault.rest)
                return fault if taken else None
        return None

    def stream(self, on: str) -> StreamFault | None:
        """What is to be done to the next frame of data of this stream."""
        for place, fault in enumerate(self._waiting):
            if isinstance(fault, StreamFault) and fault.socket == on:
                return fault if self._take(place, fault, fault.stream) else None
        return None

    def waits_for(self, on: str) -> bool:
        """Whether frames of this stream have to be looked at."""
        return any(isinstance(fault, StreamFault) and fault.socket == on for fault in self._waiting)

    def _take(self, place: int, fault: WireFault, name: str) -> bool:
        """One that it fits has come: True if it is to be done to it."""
        if fault.after > 0:
            self._waiting[place] = fault.model_copy(update={"after": fault.after - 1})
            return False
        if fault.count > 1:
            self._waiting[place] = fault.model_copy(update={"count": fault.count - 1})
        else:
            del self._waiting[place]
        self.done[name] = self.done.get(name, 0) + 1
        counter("recycler_wire_faults_total").labels(kind=name).inc()
        return True


def faults_of(document: Any) -> tuple[WireFault, ...]:
    """Faults from a JSON or YAML document: one, or a list. Raises BadSetting that names the place and what is allowed."""
    rows = document if isinstance(document, list) else [document]
    found: list[WireFault] = []
    faults = []
    for number, row in enumerate(rows, start=1):
        try:
            found.append(RestFault.model_validate(row) if isinstance(row, dict) and "rest" in row else StreamFault.model_validate(row))
        except ValidationError as error:
            faults += [f"fault {number}: {'.'.join(map(str, e['loc'])) or 'document'}: {e['msg']}" for e in error.errors()]
    if faults:
        raise BadSetting("wire faults: " + "; ".join(faults))
    return tuple(found)


def faults_by_seed(seed: int, count: int = 40) -> tuple[WireFault, ...]:
    """Faults in an order and at distances that the seed alone decides."""
    random = Random(f"wire faults {seed}")  # noqa: S311  reproducible on purpose
    found: list[WireFault] = []
    for _ in range(count):
        if random.random() < 0.5:
            found.append(RestFault(rest=random.choice(_SEEDED_REST), after=random.randint(0, 6), method="*", path="/v2/", seconds=0.2))
        else:
            on = random.choice(("market", "updates"))
            found.append(StreamFault(stream=random.choice(_SEEDED_STREAM), socket=on, after=random.randint(0, 20), seconds=0.2))
    return tuple(found)


def faults_from(text: str) -> tuple[WireFault, ...]:
    """What `--faults` names: a YAML file, or seed:N. Raises BadSetting."""
    if not text:
        return ()
    if text.startswith("seed:"):
        number = text.removeprefix("seed:")
        if not number.isdigit():
            raise BadSetting(f"--faults {text!r}: after seed: must come a whole number")
        return faults_by_seed(int(number))
    try:
        document = yaml.safe_load(Path(text).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise BadSetting(f"--faults {text}: {error}") from error
    return faults_of(document)
