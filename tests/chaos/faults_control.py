"""The kinds of fault around models: a version takes over in the midst of trading and is taken back, a forecast that is no number."""

from contextlib import closing
from typing import Any

import orjson

from chaos.faults import Way
from chaos.happened import Rollout, Stuck
from chaos.play import End
from chaos.schedule import Fault, FaultKind
from chaos.stage import Stage
from tandem.adapters import topics
from tandem.adapters.control_log import publish_control
from tandem.adapters.kafka_log import KafkaReader, KafkaWriter
from tandem.domain.control import RoutingPointer
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import SectorId

_NO_NUMBERS: tuple[Any, ...] = (None, "NaN", -1.0, 0.0)


def _rollout(stage: Stage, fault: Fault) -> End:
    """Another version with the same numbers takes the first sector over, and gives it back: decisions are the same, under other names."""
    return _moved(stage)


def _drain(stage: Stage, fault: Fault) -> End:
    """As a node that is drained: another version takes over, and the one before is gone until it is to decide again.

    Whoever moved the pointer is gone, too: nothing runs here that carries rollouts out, as while the operator or its API server is away.
    """
    name, end_rollout = stage.stable_forecaster, _moved(stage)
    stage.keep_down(name, True)
    stage.kill(name)

    def end() -> None:
        stage.keep_down(name, False)
        end_rollout()

    return end


def _moved(stage: Stage) -> End:
    """The pointer goes to the candidate; what ends it lets it go back."""
    sector = stage.rollout_sector
    stable, candidate = stage.models.refs[sector], stage.models.candidates[sector]
    _point(stage, sector, candidate)
    from_ns, epoch = stage.decided_ns, stage.epoch

    def end() -> None:
        stage.look()
        if stage.epoch == epoch:  # else another rollout has ended this one
            stage.rollouts.append(Rollout(sector=sector, digest=candidate.digest, from_ns=from_ns, to_ns=stage.decided_ns))
        _point(stage, sector, stable)

    return end


def _point(stage: Stage, sector: str, model: ModelRef) -> None:
    """Let the portfolio act on this version."""
    stage.epoch += 1
    with closing(KafkaWriter(stage.servers.kafka, "tandem-chaos")) as writer:
        publish_control(writer, RoutingPointer(sector=SectorId(sector), version=model.version, digest=model.digest, epoch=stage.epoch))


def _no_number(stage: Stage, fault: Fault) -> None:
    """The newest batch of the topic once more, with a variance that is no number or cannot be: to be parked, never traded on."""
    document = orjson.loads(_newest(stage))
    for forecast in document["forecasts"]:
        forecast["variance"] = _NO_NUMBERS[fault.amount % len(_NO_NUMBERS)]
    value = orjson.dumps(document)
    stage.injected.add(value)
    with closing(KafkaWriter(stage.servers.kafka, "tandem-chaos")) as writer:
        writer.publish(topics.FORECASTS, value, key=b"chaos/1")
        writer.flush()


def _newest(stage: Stage) -> bytes:
    """The last record of the forecast topic that holds a forecast. Raises Stuck when there is none."""
    with closing(KafkaReader(stage.servers.kafka, [topics.FORECASTS], client_id="tandem-chaos")) as reader:
        end, found = reader.end_offsets()[topics.FORECASTS, 0], b""
        while reader.position((topics.FORECASTS, 0)) < end:
            found = next((r.value for r in reversed(reader.poll(1.0)) if r.value and orjson.loads(r.value)["forecasts"]), found)
    if not found:
        raise Stuck("no forecast was published before the bar of the fault")
    return found


CONTROL_WAYS: tuple[Way, ...] = (
    Way(FaultKind(name="rollout", number=22, targets=("forecaster",), lasts_ms=(500, 3_000), renames=True), _rollout),
    Way(FaultKind(name="drained_version", number=23, targets=("forecaster",), lasts_ms=(500, 3_000), renames=True), _drain),
    Way(FaultKind(name="forecast_no_number", number=22, targets=("forecasts",), amount=(0, 99)), _no_number),
)
