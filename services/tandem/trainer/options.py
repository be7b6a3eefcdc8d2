"""The training configuration, config/training.yaml: every number that a bundle depends on besides its data."""

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tandem.domain.errors import BadSetting

Share = Annotated[float, Field(gt=0, lt=0.5)]
_STRICT = ConfigDict(frozen=True, extra="forbid")


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
    seed: int = Field(ge=0)


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


class TrainingOptions(BaseModel):
    """All of config/training.yaml."""

    model_config = _STRICT

    bars_min: int = Field(ge=100, description="Bars in which both legs traded, below which a pair is rejected.")
    holdout_share: Share = Field(description="Last part of the training span, for the scores only.")
    validation_share: Share = Field(description="Last part of what is fitted on, for early stopping and calibration.")
    refit: bool = Field(description="After scoring, fit the bundle on the whole training span.")
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


def load_options(path: Path) -> TrainingOptions:
    """The options in a YAML file. Raises BadSetting with all faults."""
    try:
        return TrainingOptions.model_validate(yaml.safe_load(path.read_text()))
    except (OSError, yaml.YAMLError) as error:
        raise BadSetting(f"{path}: {error}") from error
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}, found {fault['input']!r}" for fault in error.errors()]
        raise BadSetting(f"{path}: " + "; ".join(faults)) from error
