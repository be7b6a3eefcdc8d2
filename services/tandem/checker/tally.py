"""What one invariant found: how often it was looked at, how often it did not hold, and the first few cases. Called by every check."""

from dataclasses import dataclass, field
from typing import Any

EXAMPLES_MAX = 5  # cases that are kept; all are counted


@dataclass(slots=True, kw_only=True)
class Tally:
    """One invariant's account. not_checked: why nothing could be looked at, "" when something could."""

    name: str
    claim: str
    checked: int = 0
    violated: int = 0
    examples: list[str] = field(default_factory=list)
    not_checked: str = ""

    def expect(self, holds: bool, case: str) -> None:
        """Look at one case; `case` tells it when it does not hold."""
        self.expect_all(1, 0 if holds else 1, case)

    def expect_all(self, checked: int, violated: int, case: str) -> None:
        """Look at many cases at once; `case` tells those that do not hold."""
        self.checked += checked
        self.violated += violated
        if violated and len(self.examples) < EXAMPLES_MAX:
            self.examples.append(case)

    @property
    def holds(self) -> bool:
        """Nothing broke it."""
        return self.violated == 0

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        told: dict[str, Any] = {"checked": self.checked, "violated": self.violated}
        if self.not_checked:
            return told | {"not_checked": self.not_checked}
        return told | ({"examples": self.examples} if self.examples else {})
