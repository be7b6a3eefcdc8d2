"""/tandem/v1/replay: where the replay is, its buttons, and lockstep's participants. Behind the same keys as everything else."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tandem.domain.errors import BadSetting
from tandem.domain.market import Source
from tandem.recycler.access import CODE_NOT_FOUND, Keys, Refusal
from tandem.recycler.options import MAX_SPEED
from tandem.recycler.parameters import bad, body_of, time_ns
from tandem.recycler.replayer import Replayer

_STEPS_MAX = 1_000_000
_PREFIX = "/tandem/v1/replay"


class ReplayApi:
    """The handlers over one replayer."""

    def __init__(self, replayer: Replayer) -> None:
        self._replayer = replayer

    def routes(self, keys: Keys) -> list[Route]:
        """All routes, guarded."""
        table = [
            ("", "GET", self.status),
            ("/start", "POST", self.start),
            ("/pause", "POST", self.pause),
            ("/resume", "POST", self.resume),
            ("/step", "POST", self.step),
            ("/seek", "POST", self.seek),
            ("/speed", "POST", self.speed),
            ("/participants", "POST", self.register),
            ("/participants/{name}", "DELETE", self.remove),
            ("/ack", "POST", self.acknowledge),
        ]
        return [Route(_PREFIX + path, keys.guard(handler), methods=[method]) for path, method, handler in table]

    async def status(self, _: Request) -> Response:
        """Where the replay is."""
        return self._answer()

    async def start(self, _: Request) -> Response:
        """Leave the held state."""
        self._replayer.start()
        return self._answer()

    async def pause(self, _: Request) -> Response:
        """Stop until resume or step."""
        self._replayer.pause()
        return self._answer()

    async def resume(self, _: Request) -> Response:
        """Go on."""
        self._replayer.resume()
        return self._answer()

    async def step(self, request: Request) -> Response:
        """{"bars": n}: play n steps, then pause. One by default."""
        bars = (await body_of(request)).get("bars", 1)
        if not isinstance(bars, int) or isinstance(bars, bool) or not 1 <= bars <= _STEPS_MAX:
            raise bad(f"bars: found {bars!r}, must be a whole number from 1 to {_STEPS_MAX}")
        self._replayer.start()
        self._replayer.allow_steps(bars)
        return self._answer()

    async def seek(self, request: Request) -> Response:
        """{"to": time}: begin a new replay at the first bar that closes after a time."""
        text = (await body_of(request)).get("to")
        try:
            event_ns = time_ns(str(text))
        except ValueError as error:
            raise bad(f"to: {error}") from error
        self._replayer.start()
        self._replayer.seek(event_ns)
        return self._answer()

    async def speed(self, request: Request) -> Response:
        """{"speed": number or "max"}: times real time from now on."""
        value = (await body_of(request)).get("speed")
        self._replayer.set_speed(_speed(value))
        return self._answer()

    async def register(self, request: Request) -> Response:
        """{"name": text}: wait for this participant's acknowledgements."""
        name = (await body_of(request)).get("name")
        try:
            self._replayer.register(name if isinstance(name, str) else "")
        except BadSetting as error:
            raise bad(str(error)) from error
        return self._answer()

    async def remove(self, request: Request) -> Response:
        """Wait for this participant no more."""
        try:
            self._replayer.remove(request.path_params["name"])
        except BadSetting as error:
            raise Refusal(404, CODE_NOT_FOUND, str(error)) from error
        return self._answer()

    async def acknowledge(self, request: Request) -> Response:
        """{"name": text, "watermark_ns": number}: this participant is done with everything before the watermark.

        With {"replay_id": text} it counts for that replay only: one that was left meanwhile leaves its word behind.
        """
        body = await body_of(request)
        watermark_ns = body.get("watermark_ns")
        if not isinstance(watermark_ns, int) or isinstance(watermark_ns, bool) or watermark_ns < 0:
            raise bad(f"watermark_ns: found {watermark_ns!r}, must be nanoseconds since 1970 as a whole number")
        if not isinstance(replay_id := body.get("replay_id", ""), str):
            raise bad(f"replay_id: found {replay_id!r}, must be text")
        try:
            self._replayer.acknowledge(str(body.get("name")), watermark_ns, replay_id)
        except BadSetting as error:
            raise Refusal(404, CODE_NOT_FOUND, str(error)) from error
        return self._answer()

    def _answer(self) -> Response:
        return JSONResponse(status_document(self._replayer))


def status_document(replayer: Replayer) -> dict[str, Any]:
    """Where the replay is. ticks_sent counts what went to at least one subscriber, ticks_replayed what the market has seen."""
    market, plan, options = replayer.market, replayer.plan, replayer.options
    sent = replayer.feed.sent_by_symbol.tolist()
    passed = market.place - plan.start
    return {
        "state": replayer.state.value,
        "replay_id": replayer.replay_id,
        "source": Source.RECYCLED.value,
        "data": ", ".join(replayer.feed.files),
        "digest": market.data.digest,
        "mode": options.mode.value,
        "lockstep": options.lockstep,
        "speed": "max" if replayer.speed == MAX_SPEED else replayer.speed,
        "bar": options.bar,
        "from_ns": options.from_ns if options.from_ns is not None else int(market.tape.event_ns[plan.start]),
        "to_ns": options.to_ns if options.to_ns is not None else int(market.tape.event_ns[int(plan.stop[-1]) - 1]) + 1,
        "now_ns": market.now_ns,
        "watermark_ns": replayer.watermark_ns,
        "end_ns": int(plan.watermark_ns[-1]),
        "bars": replayer.bars,
        "bars_total": len(plan) - 1,
        "ticks_sent": sum(sent),
        "ticks_by_symbol": dict(zip(market.data.symbols, sent, strict=True)),
        "ticks_replayed": passed,
        "ticks_total": plan.ticks,
        "progress": passed / plan.ticks,
        "participants": [{"name": name, "acked_ns": acked} for name, acked in replayer.lockstep.acked_ns.items()],
        "waiting_for": list(replayer.waiting_for),
        "late": list(replayer.late),
        "synthetic": dict(replayer.feed.synthetic),
        "subscribers": len(replayer.feed.subscribers),
    }


def _speed(value: object) -> float:
    if value == "max":
        return MAX_SPEED
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < MAX_SPEED:
        return float(value)
    raise bad(f"speed: found {value!r}, must be a number above 0, or max")
