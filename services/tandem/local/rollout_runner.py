"""`tandem rollout run`: rollouts and forecasters alone, for those who run servers and other services themselves.

What `tandem up` does within its supervisor (supervisor.py), without the rest of it. One for a control topic: two would answer each other.
"""

import time
from collections.abc import Callable

from tandem.adapters.config_files import load_sectors
from tandem.adapters.kafka_log import create_topics
from tandem.adapters.model_files import load_models, model_of
from tandem.domain.errors import Transient
from tandem.local.control import ControlTopic
from tandem.local.forecasters import Fleet
from tandem.local.platform import Platform
from tandem.local.rollouts import Rollouts
from tandem.settings import Settings

_CLIENT_ID = "tandem-rollouts"


def run_rollouts(settings: Settings, port_base: int, say: Callable[[str], None], *, every_s: float) -> None:
    """Look at every active sector again and again, until interrupted. Raises what keeps it from beginning."""
    sectors, models = load_sectors(settings.config_dir), load_models(settings.config_dir)
    with Platform(settings.home, settings, port_base, report=say) as platform:
        endpoints = platform.use_servers()
        create_topics(endpoints.kafka, sectors.sectors)
        control = ControlTopic(endpoints.kafka, _CLIENT_ID)
        fleet = Fleet(platform, platform.services(bar=settings.bar, source=settings.source), say)
        wanted = {sector: model_of(models, sector) for sector in sectors.active}
        rollouts = Rollouts(control, fleet, endpoints, wanted, say, source=settings.source)
        say(f"rollouts of {', '.join(wanted)} are carried out; Ctrl-C stops")
        try:
            _look_after(platform, rollouts, say, every_s)
        finally:
            rollouts.close()
            control.close()


def _look_after(platform: Platform, rollouts: Rollouts, say: Callable[[str], None], every_s: float) -> None:
    told = ""
    while True:
        for sentence in platform.revive():
            say(sentence)
        try:
            rollouts.look()
            told = ""
        except Transient as error:
            if str(error) != told:
                told = str(error)
                say(f"warning: {told}")
        time.sleep(every_s)
