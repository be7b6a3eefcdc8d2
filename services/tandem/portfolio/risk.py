"""config/risk.yaml as records: checked with every fault named by its line and range, then handed to the pure code."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ValidationError

from tandem.domain.errors import BadSetting
from tandem.flow.breakers import BreakerLimits
from tandem.flow.drawdown import Ladder, Rung
from tandem.flow.drift import DriftLimits
from tandem.flow.execution_records import Patience
from tandem.flow.pretrade import PretradeLimits
from tandem.flow.session_end import SessionEnd
from tandem.flow.sizing import Limits
from tandem.flow.stops import StopLimits
from tandem.portfolio.risk_file import Drawdown, RiskFile

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """What the portfolio may risk and how long it waits."""

    limits: Limits
    patience: Patience
    signal_age_s_max: float
    pretrade: PretradeLimits = field(default_factory=PretradeLimits)
    breakers: BreakerLimits = field(default_factory=BreakerLimits)
    stops: StopLimits = field(default_factory=StopLimits)
    drift: DriftLimits = field(default_factory=DriftLimits)
    session_end: SessionEnd = field(default_factory=SessionEnd)


def load_risk(config_dir: Path, *, bar_ns: int | None = None) -> Risk:
    """The limits of config_dir/risk.yaml. Raises BadSetting with all faults of the file.

    bar_ns: of the bars that decisions are made on; with it, what has no meaning on such bars is a fault.
    """
    path = config_dir / "risk.yaml"
    try:
        text = path.read_text(encoding="utf-8")
        read = RiskFile.model_validate(yaml.safe_load(text))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadSetting(f"{path}: {error}") from error
    except ValidationError as error:
        faults = "; ".join(
            f"line {_line(text, f['loc'])}: {'.'.join(map(str, f['loc'])) or 'file'} is {f['input']!r}: {f['msg']}" for f in error.errors()
        )
        raise BadSetting(f"{path}: {faults}") from error
    reading = _Reading(path, text)
    risk = reading.risk(read)
    if bar_ns is not None:
        reading.part("session_end", lambda: risk.session_end.check_bar(bar_ns))
    return risk


class _Reading:
    """Makes records of a file whose numbers are in their ranges; what does not fit together is a fault of its part."""

    def __init__(self, path: Path, text: str) -> None:
        self._path, self._text = path, text

    def risk(self, read: RiskFile) -> Risk:
        """Everything of the file. Raises BadSetting."""
        ladder = self.part("drawdown", lambda: _ladder(read.drawdown))
        return Risk(
            limits=self.part("limits", lambda: Limits(**read.sizing.model_dump(), **read.limits.model_dump())),
            patience=self.part("execution", lambda: Patience(**read.execution.model_dump(exclude={"signal_age_s_max"}))),
            signal_age_s_max=read.execution.signal_age_s_max,
            pretrade=self.part("pretrade", lambda: PretradeLimits(**read.pretrade.model_dump())),
            breakers=self.part("breakers", lambda: BreakerLimits(**read.breakers.model_dump(), ladder=ladder)),
            stops=self.part("stops", lambda: StopLimits(**read.stops.model_dump())),
            drift=self.part("drift", lambda: DriftLimits(**read.drift.model_dump())),
            session_end=self.part("session_end", lambda: SessionEnd(**read.session_end.model_dump())),
        )

    def part(self, name: str, make: Callable[[], T]) -> T:
        """What `make` makes of a part of the file. Raises BadSetting with the part's line."""
        try:
            return make()
        except ValueError as error:
            raise BadSetting(f"{self._path}: line {_line(self._text, (name,))}: {name}: {error}") from error


def _ladder(read: Drawdown | None) -> Ladder:
    if read is None:
        return Ladder()
    return Ladder(rungs=tuple(Rung(**rung.model_dump()) for rung in read.rungs), recovered=read.recovered)


def _line(text: str, place: tuple[int | str, ...]) -> int:
    """The line of a value, or of the last part of the way to it that the file has."""
    node, line = yaml.compose(text), 1
    for step in place:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == step), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            break
    return line
