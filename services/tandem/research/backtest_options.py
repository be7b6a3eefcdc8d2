"""config/backtest.yaml as a record: checked with every fault named."""

from decimal import Decimal
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tandem.domain.errors import BadSetting

BACKTEST_FILE = "backtest.yaml"


class BacktestOptions(BaseModel):
    """What a backtest takes for granted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    train_bars: int = Field(ge=2)
    trade_bars: int = Field(ge=2)
    capital_usd: Decimal = Field(gt=0)
    notional_usd: Decimal = Field(gt=0)
    borrow_bps_year: Decimal = Field(ge=0, lt=10_000)


def load_backtest_options(config_dir: Path) -> BacktestOptions:
    """The options of config_dir/backtest.yaml. Raises BadSetting with all faults of the file."""
    path = config_dir / BACKTEST_FILE
    try:
        return BacktestOptions.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadSetting(f"{path}: {error}") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, f['loc'])) or 'file'} is {f['input']!r}: {f['msg']}" for f in error.errors())
        raise BadSetting(f"{path}: {faults}") from error
