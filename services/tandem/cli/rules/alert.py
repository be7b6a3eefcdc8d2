"""One alert, and what every alert must say."""

from dataclasses import dataclass
from typing import Any, Literal

RUNBOOKS = "docs/runbooks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """page: of docs/runbooks, whose heading of the alert's name tells what to do. critical: somebody is woken."""

    name: str
    expr: str
    severity: Literal["critical", "warning", "none"]
    page: str
    summary: str
    description: str
    for_: str = ""

    def document(self) -> dict[str, Any]:
        """As Prometheus reads it."""
        return {
            "alert": self.name,
            "expr": self.expr,
            **({"for": self.for_} if self.for_ else {}),
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "description": self.description, "runbook_url": self.runbook},
        }

    @property
    def runbook(self) -> str:
        """Its page in the repository, and the heading there."""
        return f"{RUNBOOKS}/{self.page}.md#{self.name.lower()}"
