"""Commands and environments of our services, and the ports they get."""

from pathlib import Path

import pytest

from tandem.local.endpoints import Endpoints, Ports
from tandem.local.services import Services

ENDPOINTS = Endpoints(kafka="k:1", postgres="postgresql://u:p@h:2/tandem", redis="redis://h:3/0", mlflow="http://h:4")


def services(source: str = "recycled") -> Services:
    """Services of one platform."""
    return Services(
        endpoints=ENDPOINTS, ports=Ports(30_000), home=Path("/h"), config_dir=Path("/c"), bar="1d", source=source, api_token="t"
    )


def test_every_service_is_told_where_the_servers_are_and_where_it_listens() -> None:
    """The four servers, an address of its own, one thread for BLAS."""
    made = services()
    ports = set()
    for service in (made.recycler(()), made.ingestor(), made.recorder(), made.portfolio(), made.forecaster("energy", "1", 0)):
        assert ENDPOINTS.environment().items() <= service.env.items()
        assert (service.env["TANDEM_HOST"], service.env["TANDEM_BAR"], service.env["OMP_NUM_THREADS"]) == ("127.0.0.1", "1d", "1")
        assert service.argv[1:3] == ("-m", f"tandem.{service.name.split('-')[0]}.main")
        ports.add(service.port)
    assert len(ports) == 5


def test_recycler_stands_in_for_alpaca_only_with_recycled_data() -> None:
    """Live and paper keep the user's own keys and Alpaca's addresses."""
    assert services().ingestor().env["TANDEM_ALPACA_DATA_URL"] == "ws://127.0.0.1:30010/v2/iex"
    assert not [name for name in services("paper").ingestor().env if name.startswith("TANDEM_ALPACA")]


def test_forecasters_share_no_folder_of_bentoml() -> None:
    """BentoML wipes it at start."""
    made = services()
    first, second = made.forecaster("energy", "1", 0), made.forecaster("energy", "2", 1)
    assert first.env["BENTOML_HOME"] != second.env["BENTOML_HOME"]
    assert (first.name, first.env["TANDEM_SECTOR"], first.env["TANDEM_MODEL_VERSION"]) == ("forecaster-energy-v1", "energy", "1")
    assert first.port != second.port


def test_fields_of_settings_can_be_set_by_name() -> None:
    """One service, one more setting."""
    assert services().portfolio(capital_usd="5").env["TANDEM_CAPITAL_USD"] == "5"


def test_forecaster_numbers_are_bounded() -> None:
    """Ports beyond the platform's range belong to somebody else."""
    with pytest.raises(ValueError, match="forecaster number 40, must be 0 to 39"):
        Ports(30_000).forecaster(40)
