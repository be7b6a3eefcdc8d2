"""Forecasts made by column are what each would be by itself, or are refused as it would be."""

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.forecasts import FORECAST_FIELDS, Forecast, forecasts_of

_GOOD: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(FORECAST_FIELDS, st.floats(-1e6, 1e6))
_GOOD |= dict.fromkeys(("price_a", "price_b", "variance", "garch_variance"), st.floats(1e-300, 1e300))
_GOOD |= dict.fromkeys(("pair", "leg_a", "leg_b"), st.text(max_size=3)) | {"bar_index": st.integers(0, 9)}
_GOOD["reversion_probability"] = st.floats(0, 1)
_NEAR = st.sampled_from([0.0, -0.0, 1.0, 1.0 + 2**-52, -1e-320, 5e-324, 1.7e308, -1.7e308, float("nan"), float("inf"), -float("inf")])
_ANYTHING = _NEAR | st.floats() | st.none() | st.text(max_size=2) | st.booleans() | st.integers(-(2**1100), 2**1100)
_ROWS = st.lists(st.tuples(*(_GOOD[name] for name in FORECAST_FIELDS)), max_size=4)
_PLACES = st.dictionaries(st.tuples(st.integers(0, 3), st.sampled_from(FORECAST_FIELDS)), _ANYTHING, max_size=2)


def _alone(rows: Sequence[tuple[Any, ...]]) -> Any:
    try:
        return [astuple(Forecast(**dict(zip(FORECAST_FIELDS, row, strict=True)))) for row in rows]
    except (TypeError, ValueError, OverflowError) as error:
        return type(error), str(error)


def _together(rows: Sequence[tuple[Any, ...]]) -> Any:
    try:
        return [astuple(forecast) for forecast in forecasts_of([[row[place] for row in rows] for place in range(len(FORECAST_FIELDS))])]
    except (TypeError, ValueError, OverflowError) as error:
        return type(error), str(error)


@given(_ROWS, _PLACES)
def test_by_column_as_one_by_one(rows: list[tuple[Any, ...]], wrong: dict[tuple[int, str], Any]) -> None:
    """Whatever stands in them."""
    changed = [
        tuple(wrong.get((number, name), value) for name, value in zip(FORECAST_FIELDS, row, strict=True)) for number, row in enumerate(rows)
    ]
    assert _together(changed) == _alone(changed)


@given(_ROWS)
def test_made_by_column_they_are_forecasts(rows: list[tuple[Any, ...]]) -> None:
    """Equal, hashed alike, and no more changeable."""
    made = forecasts_of([[row[place] for row in rows] for place in range(len(FORECAST_FIELDS))])
    alone = tuple(Forecast(**dict(zip(FORECAST_FIELDS, row, strict=True))) for row in rows)
    assert made == alone
    assert set(made) == set(alone)
    assert list(map(repr, made)) == list(map(repr, alone))
