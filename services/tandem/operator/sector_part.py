"""Puts the part of the operator together that looks after SectorModels: where it looks, and what it needs of the settings.

Called once by process.py.
"""

from pathlib import Path

from tandem.adapters.forecaster_http import read_report
from tandem.adapters.score_evidence import read_losses
from tandem.adapters.yaml_documents import read_documents, read_text
from tandem.domain.errors import BadSetting, Transient
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import SectorId
from tandem.operator.context import Context
from tandem.operator.gather import Registry, Sources
from tandem.operator.replays import ReplayRuns
from tandem.operator.sectors import Sectors
from tandem.rollout.deployment import HTTP_PORT, ForecasterTemplate, parse_template
from tandem.rollout.labels import version_name
from tandem.rollout.paired import PairedLosses
from tandem.rollout.promotion import Health
from tandem.rollout.state import RolloutState


def build_sectors(context: Context, registry: Registry) -> Sectors:
    """The part. Raises BadSetting when the template is missing or cannot be used."""
    settings = context.settings
    if settings.forecaster_template is None:
        raise BadSetting("TANDEM_FORECASTER_TEMPLATE is not set: the file with what forecasters have in common")
    template = load_template(settings.forecaster_template)
    url, source = settings.postgres_url.get_secret_value(), settings.source

    def losses(state: RolloutState) -> PairedLosses:
        if not url:
            raise Transient("TANDEM_POSTGRES_URL is not set: there are no forecast scores to look at")
        return read_losses(url, source, state)

    def health(model: ModelRef, sector: SectorId) -> Health:
        return read_report(f"http://{version_name(sector, model.version)}.{context.namespace}.svc:{HTTP_PORT}").health

    def replayed(model: ModelRef) -> None:
        for kind, name in sectors.named(model.name):
            context.wake(kind, name)

    replays = ReplayRuns(replayed)
    sources = Sources(context=context, registry=registry, losses=losses, health=health, instance=template.instance)
    sectors = Sectors(sources, template, replays)
    return sectors


def load_template(path: Path) -> ForecasterTemplate:
    """The template in a YAML file. Raises BadSetting with every fault in it."""
    documents = read_documents(str(path), read_text(path))
    if len(documents) != 1:
        raise BadSetting(f"TANDEM_FORECASTER_TEMPLATE: {path} holds {len(documents)} documents, must be one")
    return parse_template(documents[0].root)
