"""The training configuration, config/training.yaml: every number that a bundle depends on besides its data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tandem.domain.errors import BadSetting
from tandem.quant.volatility import Kind, Shocks

Share = Annotated[float, Field(gt=0, lt=0.5)]
_STRICT = ConfigDict(frozen=True, extra="forbid")
_TESTED_SHARE_MAX = 0.6  # of the span: the first fold's model must have seen two fifths of it


class NetworkOptions(BaseModel):
    """The GRU and its training."""

    model_config = _STRICT

    sequence: int = Field(ge=2, le=200, description="Bars that the network sees.")
    hidden: int = Field(ge=1, le=512)
    dropout: float = Field(ge=0, lt=1)
    learning_rate: float = Field(gt=0)
    batch: int = Field(ge=1)
    epochs_max: int = Field(ge=0, description="0 leaves plain GARCH and a constant probability.")
    patience: int = Field(ge=1, description="Epochs without a better validation loss before training ends.")
    batches_per_epoch_max: int = Field(ge=1, description="Bounds the time of an epoch on minute bars.")
    cell: Literal["correction", "integrated"] = Field(description="Where the network meets GARCH: at its output, or inside the cell.")
    members: int = Field(ge=1, le=50, description="Networks of different seeds, whose outputs are averaged.")
    loss: Literal["qlike", "student_t"] = Field(description="Of the variance.")
    seed: int = Field(ge=0)


class VolatilityOptions(BaseModel):
    """The variance models that are tried on each pair; the least BIC among those that converge and are stationary is taken."""

    model_config = _STRICT

    kinds: tuple[Kind, ...] = Field(min_length=1)
    shocks: tuple[Shocks, ...] = Field(min_length=1)


class WalkForwardOptions(BaseModel):
    """How a configuration is scored before the bundle is fitted on the whole span."""

    model_config = _STRICT

    folds: int = Field(ge=0, le=20, description="0: not scored at all, for callers that score themselves.")
    test_share: Share = Field(
        description="Of the training span, the test part of each fold; the folds' test parts lie side by side at its end."
    )
    members: int = Field(ge=1, le=50, description="Networks in each fold's model, at most those of the bundle.")

    @model_validator(mode="after")
    def _leaves_something_to_fit_on(self) -> Self:
        if self.folds * self.test_share > _TESTED_SHARE_MAX:
            raise ValueError(f"{self.folds} folds of {self.test_share} test more than {_TESTED_SHARE_MAX} of the span")
        return self


class ScreeningOptions(BaseModel):
    """Which undeclared pairs are added."""

    model_config = _STRICT

    false_discovery_rate: float = Field(gt=0, lt=1)
    half_life_min_bars: float = Field(gt=0)
    half_life_max_bars: float = Field(gt=0)
    lags_max: int = Field(ge=0)
    screened_max: int = Field(ge=0)


class BarOptions(BaseModel):
    """What depends on the bar's length."""

    model_config = _STRICT

    horizon_bars: int = Field(ge=1, description="Bars within which a reversion counts.")
    missing_share_max: float = Field(ge=0, lt=1, description="Share of its bars in which a symbol may not have traded.")


class TrainingOptions(BaseModel):
    """All of config/training.yaml."""

    model_config = _STRICT

    bars_min: int = Field(ge=100, description="Bars in which both legs traded, below which a pair is rejected.")
    walk_forward: WalkForwardOptions
    validation_share: Share = Field(description="Last part of what is fitted on, for early stopping and calibration.")
    volatility: VolatilityOptions
    cost_bps: float = Field(ge=0, description="Per side and leg.")
    profile_prior_observations: float = Field(gt=0)
    bars: dict[str, BarOptions]
    screening: ScreeningOptions
    network: NetworkOptions

    def horizon_bars(self, bar: str) -> int:
        """The horizon for a bar length. Raises BadSetting for one that the file does not name."""
        if bar not in self.bars:
            raise BadSetting(f"bars: nothing for bar {bar!r}, found {', '.join(self.bars)}")
        return self.bars[bar].horizon_bars


def load_options(path: Path, *, overlay: Path | None = None) -> TrainingOptions:
    """The options in a YAML file, with those of `overlay` (a part of the same tree) in their place. Raises BadSetting with all faults."""
    tree = _tree(path)
    where = str(path)
    if overlay is not None:
        tree, where = _merged(tree, _tree(overlay)), f"{path} with {overlay}"
    try:
        return TrainingOptions.model_validate(tree)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}, found {fault['input']!r}" for fault in error.errors()]
        raise BadSetting(f"{where}: " + "; ".join(faults)) from error


def _tree(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise BadSetting(f"{path}: {error}") from error
    if not isinstance(tree, dict):
        raise BadSetting(f"{path}: found {type(tree).__name__}, expected a mapping of options")
    return tree


def _merged(tree: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(tree)
    for key, value in over.items():
        below = result.get(key)
        result[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result
