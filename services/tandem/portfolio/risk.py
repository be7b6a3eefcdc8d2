"""config/risk.yaml as records: checked with every fault named, then handed to the pure code."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tandem.domain.errors import BadSetting
from tandem.flow.execution import Patience
from tandem.flow.sizing import Limits


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Sizing(_Part):
    volatility_target_daily: float = Field(gt=0, le=1)
    scale_max: float = Field(gt=0, le=10)
    hedge_error_max: Decimal = Field(ge=0, le=1)


class _Limits(_Part):
    pairs_open_max: int = Field(ge=1)
    gross_exposure_max: Decimal = Field(gt=0, le=4)
    symbol_exposure_max: Decimal = Field(gt=0, le=4)
    short_equity_usd_min: Decimal = Field(ge=0)


class _Execution(_Part):
    leg_wait_bars_max: int = Field(ge=1)
    leg_wait_s_max: float = Field(gt=0)
    unwind_attempts_max: int = Field(ge=1, le=99)
    signal_age_s_max: float = Field(gt=0)


class _RiskFile(_Part):
    sizing: _Sizing
    limits: _Limits
    execution: _Execution


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """What the portfolio may risk and how long it waits."""

    limits: Limits
    patience: Patience
    signal_age_s_max: float


def load_risk(config_dir: Path) -> Risk:
    """The limits of config_dir/risk.yaml. Raises BadSetting with all faults of the file."""
    path = config_dir / "risk.yaml"
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        read = _RiskFile.model_validate(document)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadSetting(f"{path}: {error}") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, f['loc'])) or 'file'} is {f['input']!r}: {f['msg']}" for f in error.errors())
        raise BadSetting(f"{path}: {faults}") from error
    return Risk(
        limits=Limits(**read.sizing.model_dump(), **read.limits.model_dump()),
        patience=Patience(
            leg_wait_bars_max=read.execution.leg_wait_bars_max,
            leg_wait_s_max=read.execution.leg_wait_s_max,
            unwind_attempts_max=read.execution.unwind_attempts_max,
        ),
        signal_age_s_max=read.execution.signal_age_s_max,
    )
