"""The three kinds of failure. Every other error of Tandem derives from one of them."""


class TandemError(Exception):
    """Base of all errors that Tandem raises on purpose. The message states what was found and what was allowed."""


class Transient(TandemError):
    """May succeed when tried again, e.g. a server is away. Retried with a bound and a backoff."""


class Permanent(TandemError):
    """Will not succeed by trying again. The record is parked with this reason, or the command ends."""


class InvariantBroken(TandemError):
    """Something that cannot be, is. The process stops; its restart is the normal start."""


class BadRecord(Permanent):
    """Outside data that cannot be used. `reason` is the short code under which it is parked and counted."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class BadSetting(Permanent):
    """The configuration cannot be used: names the setting, its value and what is allowed."""
