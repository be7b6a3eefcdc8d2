"""What a browser's session has asked: each question once until somebody presses the refresh button. No page asks by itself again.

A failure is kept like an answer, so that every part of a page tells the same, and the rest of the page is still drawn. What a page will
ask is asked ahead, all at once: the page takes as long as its slowest server, not as long as all of them.
"""

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tandem.adapters.control_log import ControlTable, read_control
from tandem.adapters.dashboard_views import DashboardViews, Stream
from tandem.adapters.deadletter import Letter, read_letters
from tandem.adapters.decision_log import DecisionLog
from tandem.adapters.model_history import ModelHistory
from tandem.adapters.portfolio_http import PortfolioApi
from tandem.adapters.registry_rest import Registry
from tandem.adapters.replay_control import ReplayControl
from tandem.domain.errors import BadSetting, TandemError
from tandem.domain.ids import SectorId
from tandem.quant.bundle import model_name
from tandem.rollout.observed import RegisteredVersion
from tandem.settings import Settings

T = TypeVar("T")
_THREADS = 16  # for all sessions: more than any page has servers and questions at a time
_AHEAD = ThreadPoolExecutor(_THREADS, thread_name_prefix="ahead")
_CLIENT_ID = "tandem-dashboard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where answers come from. All are safe to use from any thread."""

    settings: Settings
    portfolio: PortfolioApi
    views: DashboardViews
    history: ModelHistory
    decisions: DecisionLog

    def control(self) -> ControlTable:
        """The control topic as it is now. Raises Transient, BadSetting."""
        table, reader = read_control(self._kafka(), _CLIENT_ID)
        reader.close()
        return table

    def letters(self) -> list[Letter]:
        """The dead letter, oldest first. Raises Transient, BadSetting."""
        return read_letters(self._kafka(), client_id=_CLIENT_ID)

    def replay(self) -> dict[str, Any]:
        """Where the recycler's replay is. Raises Transient, Permanent, BadSetting."""
        with closing(self.replay_control()) as control:
            return control.document()

    def replay_control(self) -> ReplayControl:
        """The recycler's buttons, for one thread; close it. Raises BadSetting."""
        settings = self.settings
        return ReplayControl(
            settings.alpaca_api_url,
            key_id=settings.alpaca_key_id.get_secret_value(),
            secret_key=settings.alpaca_secret_key.get_secret_value(),
            name="dashboard",
        )

    def versions(self, sector: str) -> tuple[RegisteredVersion, ...]:
        """The registered versions of a sector's model, newest first. Raises Transient, Permanent."""
        uri = self.settings.mlflow_tracking_uri
        if not uri:
            raise BadSetting("MLFLOW_TRACKING_URI is not set: the registry cannot be asked")
        with Registry(uri) as registry:
            return registry.versions(model_name(SectorId(sector)))

    def _kafka(self) -> str:
        servers = self.settings.kafka_bootstrap_servers
        if not servers:
            raise BadSetting("TANDEM_KAFKA_BOOTSTRAP_SERVERS is not set: Kafka cannot be asked")
        return servers


def sources_of(settings: Settings) -> Sources:
    """The sources that the settings name. Raises BadSetting."""
    database = settings.postgres_url.get_secret_value()
    return Sources(
        settings=settings,
        portfolio=PortfolioApi(settings.portfolio_url),
        views=DashboardViews(database),
        history=ModelHistory(database),
        decisions=DecisionLog(database),
    )


@dataclass(slots=True)
class Snapshot:
    """Answers of one session since its last refresh."""

    sources: Sources
    taken_s: float = field(default_factory=time.time)
    _answers: dict[Hashable, Future[Any]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, key: Hashable, question: Callable[[Sources], T]) -> T:
        """The answer, asked for at the first time. Raises the TandemError that the question raised, then and later.

        Who comes first asks, in its own thread; who comes meanwhile waits. A question may ask others, but none that asks it.
        """
        with self._lock:
            known = self._answers.get(key)
            answer: Future[T] = known if known is not None else self._answers.setdefault(key, Future())
        if known is None:
            try:
                answer.set_result(question(self.sources))
            except TandemError as error:
                answer.set_exception(error)
            finally:
                if not answer.done():  # a fault of ours is no answer: it is raised here, and the next one asks again
                    del self._answers[key]
                    answer.cancel()
        return answer.result()

    def ahead(self, *questions: "str | Callable[[Snapshot], object]") -> None:
        """Ask these at the same time, in threads of their own; who needs an answer waits for it there.

        A question: a path of the portfolio's API, or a function that asks.
        """
        for question in questions:
            _AHEAD.submit(self._keep, question)

    def _keep(self, question: "str | Callable[[Snapshot], object]") -> None:
        with suppress(TandemError):  # told where the answer is needed
            self.portfolio(question) if isinstance(question, str) else question(self)

    def portfolio(self, path: str, **query: Any) -> Any:
        """An answer of the portfolio's API. Raises Transient, Permanent."""
        return self.ask((path, tuple(sorted(query.items()))), lambda sources: sources.portfolio.get(path, **query))

    @property
    def book(self) -> str:
        """The name of the portfolio's book. Raises Transient while the portfolio is not ready."""
        return str(self.portfolio("/v1/summary")["book"])

    @property
    def source(self) -> str:
        """live, paper or recycled."""
        return self.sources.settings.source

    @property
    def stream(self) -> Stream:
        """Where the market data of the book come from. Raises Transient."""
        if self.source != "recycled":
            return Stream(source=self.source, replay_id="")
        return Stream(source=self.source, replay_id=self.ask("run", lambda sources: sources.views.newest_run(self.book)))

    @property
    def bar(self) -> str:
        """The bar length that the platform trades on."""
        return self.sources.settings.bar
