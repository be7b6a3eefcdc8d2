"""Whether the ingestor does its work, in one sentence for /readyz. Told by ingestor/pump.py, asked by the HTTP thread."""

from dataclasses import dataclass

from tandem.ingestor.outputs import StreamError


@dataclass(slots=True, kw_only=True)
class Condition:
    """What is wanted and what the server confirmed. Never "running with no data": without all symbols it is not ready."""

    wanted: frozenset[str] | None = None  # None: the control topic is not read to its end yet
    confirmed: frozenset[str] = frozenset()
    connected: bool = False
    loss: str = "not connected yet"
    error: StreamError | None = None
    hole: str | None = None  # what is being done about ticks that may be missing

    def want(self, symbols: frozenset[str]) -> None:
        """The symbols of the declared pairs changed."""
        self.wanted = symbols

    def connect(self) -> None:
        """Authenticated; nothing is confirmed yet."""
        self.connected, self.confirmed = True, frozenset()

    def lose(self, reason: str) -> None:
        """The connection is gone or could not be made."""
        self.connected, self.confirmed, self.loss = False, frozenset(), reason

    def confirm(self, symbols: frozenset[str]) -> None:
        """The server's full list. An earlier error is over once it covers all that is wanted."""
        self.confirmed = symbols
        if not self.missing:
            self.error = None

    def fail(self, error: StreamError) -> None:
        """The server sent an error."""
        self.error = error

    @property
    def missing(self) -> list[str]:
        """Symbols that are wanted and not confirmed."""
        return sorted((self.wanted or frozenset()) - self.confirmed)

    @property
    def subscribed(self) -> bool:
        """Connected, and the server confirmed every symbol, of which there is at least one."""
        return self.connected and bool(self.wanted) and not self.missing

    def why_not_ready(self) -> str | None:
        """None when all wanted symbols are confirmed and no hole is open, or none is wanted; else the reason."""
        if self.wanted is None:
            return "reading the control topic"
        if not self.wanted:
            return None
        if self.error is not None:
            return f"stream error {self.error.code}: {self.error.message}"
        if not self.connected:
            return f"not connected: {self.loss}"
        if self.missing:
            return f"subscription not confirmed for {', '.join(self.missing)}"
        return self.hole
