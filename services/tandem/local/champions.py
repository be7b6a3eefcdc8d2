"""Which version of a sector's model MLflow calls champion. The supervisor asks for as long as a sector has no model."""

from tandem.adapters.registry_rest import Registry
from tandem.domain.forecasts import ModelRef
from tandem.quant.bundle import model_name


def champion(tracking_uri: str, sector: str) -> ModelRef | None:
    """The champion of a sector, None if there is none. Raises Transient when MLflow does not answer, Permanent when it has no digest."""
    with Registry(tracking_uri) as registry:
        return registry.champion(model_name(sector))
