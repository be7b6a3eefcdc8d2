"""/tandem/exchange/directives, by which tests and chaos runs make things happen, and /v1/corporate-actions, by which clients hear of some.

Corporate actions are the splits and dividends of the script and of requests: known from when they are given, with the date on which they
take effect.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tandem.domain.errors import BadSetting
from tandem.domain.ids import derived_uuid
from tandem.domain.units import utc
from tandem.flow.directives import Directive, Dividend, Split
from tandem.recycler.access import Keys
from tandem.recycler.directives_body import Planned, When, directive_fields, directive_name, planned
from tandem.recycler.parameters import bad, date_of, document_of, one_of, whole
from tandem.recycler.replayer import Replayer

_NEW_YORK = ZoneInfo("America/New_York")
_DIRECTIVES_MAX = 1_000  # in one request
_PAGE_MAX, _PAGE = 1_000, 100  # Alpaca's
_TYPES = ("cash_dividends", "forward_splits", "reverse_splits")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorporateAction:
    """A split or a dividend and its day in New York."""

    identifier: str
    day: date
    directive: Split | Dividend

    @property
    def kind(self) -> str:
        """The list of the answer in which it stands."""
        if isinstance(self.directive, Dividend):
            return "cash_dividends"
        return "forward_splits" if self.directive.new_shares >= self.directive.old_shares else "reverse_splits"

    def document(self) -> dict[str, Any]:
        """As Alpaca words it. Fields that a directive does not know are the day itself."""
        day = self.day.isoformat()
        common = {"id": self.identifier, "symbol": self.directive.symbol, "cusip": "", "process_date": day, "ex_date": day}
        if isinstance(self.directive, Dividend):
            rate = float(self.directive.usd_per_share)
            return {**common, "rate": rate, "special": False, "foreign": False, "record_date": day, "payable_date": day}
        rates: dict[str, Any] = {"new_rate": float(self.directive.new_shares), "old_rate": float(self.directive.old_shares)}
        if self.kind == "reverse_splits":
            rates |= {"old_cusip": "", "new_cusip": ""}
        return {**common, **rates, "record_date": day, "payable_date": day}


class ExchangeApi:
    """The handlers over one replayer's exchange."""

    def __init__(self, replayer: Replayer) -> None:
        self._replayer, self._market = replayer, replayer.market

    def routes(self, keys: Keys) -> list[Route]:
        """All routes, guarded."""
        table = [
            ("/tandem/exchange/directives", "POST", self.direct),
            ("/tandem/exchange/directives", "GET", self.directives),
            ("/v1/corporate-actions", "GET", self.corporate_actions),
        ]
        return [Route(path, keys.guard(handler), methods=[method]) for path, method, handler in table]

    async def direct(self, request: Request) -> Response:
        """One directive, or a list of them that is taken as a whole or not at all."""
        try:
            document = await document_of(request)
        except ValueError as error:
            raise bad(f"request body format is invalid: {error}") from error
        items = document if isinstance(document, list) else [document]
        if not 1 <= len(items) <= _DIRECTIVES_MAX:
            raise bad(f"{len(items)} directives, must be 1 to {_DIRECTIVES_MAX}")
        async with self._replayer.gate:
            try:
                found = [self._planned(item, number) for number, item in enumerate(items)]
                for one in found:
                    self._market.paper.check(one)
                answers = [{"directive_id": one.directive_id, "event_ns": self._market.paper.direct(one)} for one in found]
            except BadSetting as error:
                raise bad(str(error)) from error
        waits = any(answer["event_ns"] is None for answer in answers)
        return JSONResponse(answers if isinstance(document, list) else answers[0], status_code=202 if waits else 200)

    def _planned(self, item: object, number: int) -> Planned:
        """With an id that comes from the replay and the number of the directive within it, which a restart knows, too."""
        identifier = derived_uuid("directive", self._replayer.replay_id, self._market.paper.taken + number)
        return planned(item, identifier, self._market.data.symbols)

    async def directives(self, _: Request) -> Response:
        """What waits and what has happened in this pass, the recording's halts and bands included."""
        agenda = self._market.paper.agenda
        done = [
            {"directive_id": o.directive_id, "event_ns": o.event_ns, directive_name(o.directive): directive_fields(o.directive)}
            for o in agenda.done
        ]
        return JSONResponse({"waiting": [found.document() for found in agenda.waiting], "done": done})

    async def corporate_actions(self, request: Request) -> Response:
        """Splits and dividends by symbol, type and day; the oldest first unless asked otherwise."""
        names = {name for name in request.query_params.get("symbols", "").split(",") if name}
        types = [name for name in request.query_params.get("types", "").split(",") if name] or list(_TYPES)
        wanted = {name if name.endswith("s") else name + "s" for name in types}
        start, end = date_of(request, "start") or date.min, date_of(request, "end") or date.max
        limit = whole(request, "limit", default=_PAGE, high=_PAGE_MAX)
        token = request.query_params.get("page_token") or "0"
        if not token.isdigit() or len(token) > 9:
            raise bad(f"page_token {token!r}: no such page")
        found = [one for one in self._actions() if one.kind in wanted and start <= one.day <= end]
        found = [one for one in found if not names or one.directive.symbol in names]
        found.sort(
            key=lambda one: (one.day, one.directive.symbol, one.identifier), reverse=one_of(request, "sort", ("asc", "desc")) == "desc"
        )
        first, page = int(token), dict[str, list[dict[str, Any]]]()
        for one in found[first : first + limit]:
            page.setdefault(one.kind, []).append(one.document())
        more = str(first + limit) if first + limit < len(found) else None
        return JSONResponse({"corporate_actions": page, "next_page_token": more})

    def _actions(self) -> list[CorporateAction]:
        agenda = self._market.paper.agenda
        told: Sequence[tuple[str, Directive, int]] = [
            *((one.directive_id, one.directive, one.at) for one in agenda.waiting if one.when is When.TIME),
            *((one.directive_id, one.directive, one.event_ns) for one in agenda.done),
        ]
        return [
            CorporateAction(identifier=identifier, day=_day(at_ns), directive=directive)
            for identifier, directive, at_ns in told
            if isinstance(directive, Split | Dividend)
        ]


def _day(at_ns: int) -> date:
    return utc(at_ns).astimezone(_NEW_YORK).date()
