"""Batches in Kafka: one for each sector, version and bar, the same bytes however often published, and nothing that is no number."""

from collections import defaultdict

from tandem.checker.evidence import BatchRecord, Evidence, SectorTicks
from tandem.checker.market_checks import heartbeats
from tandem.checker.tally import Tally

_Key = tuple[str, str, str]  # sector, version, digest


def forecasts_readable(evidence: Evidence, tally: Tally) -> None:
    """Every record of the forecast topic can be read: no NaN, no price or variance that is not above 0."""
    if evidence.forecasts is None:
        return
    tally.expect_all(len(evidence.forecasts.records), 0, "")
    for problem in evidence.forecasts.unreadable:
        tally.expect(False, problem)


def forecasts_complete(evidence: Evidence, tally: Tally) -> None:
    """From a version's first bar on, each watermark of its sector has a batch of that version, as long as the version publishes."""
    found = _by_version(evidence)
    for sector in evidence.sectors or ():
        beats = [beat.watermark_ns for beat in heartbeats(sector) if beat.lockstep]
        versions = [key for key in found if key[0] == sector.sector]
        if evidence.ended:
            tally.expect(bool(versions) or not beats, f"{sector.sector}: {len(beats)} watermarks and no batch of any version")
        for key in versions:
            closes = {record.batch.bar_close_ns for record in found[key]}
            due = [ns for ns in beats if min(closes) <= ns <= max(closes)]
            missing = [ns for ns in due if ns not in closes]
            tally.expect_all(len(due), len(missing), f"{key[0]} version {key[1]}: no batch at {missing[:3]} ({len(missing)} bars)")


def forecasts_reach_the_end(evidence: Evidence, tally: Tally) -> None:
    """When all is over, some version of each sector has published the last watermark of its sector."""
    if not evidence.ended:
        return
    found = _by_version(evidence)
    for sector in evidence.sectors or ():
        if last := _last_ns(sector):
            newest = max((r.batch.bar_close_ns for key, records in found.items() if key[0] == sector.sector for r in records), default=0)
            tally.expect(newest >= last, f"{sector.sector}: newest batch at {newest}, last watermark {last}")


def forecasts_equal_when_repeated(evidence: Evidence, tally: Tally) -> None:
    """A bar that was published again is byte for byte the one of before; a repeated watermark may add that nothing is new, after it."""
    for key, records in _by_version(evidence).items():
        contents: dict[tuple[int, int, int, bool], bytes] = {}
        for record in records:
            batch = record.batch
            first = contents.setdefault((batch.bar_close_ns, batch.shard, batch.shards, batch.end_of_stream), record.content)
            told = f"{key[0]} version {key[1]}: two different batches at {batch.bar_close_ns} (offset {record.offset})"
            tally.expect(first == record.content or not batch.forecasts, told)


def forecasts_name_the_market(evidence: Evidence, tally: Tally) -> None:
    """A forecast is of a pair that its sector declares, of its legs, and no pair stands twice in a batch."""
    legs = {pair.pair: (pair.sector, pair.leg_a, pair.leg_b) for pair in evidence.pairs}
    for record in evidence.forecasts.records if evidence.forecasts else ():
        batch = record.batch
        names = [forecast.pair for forecast in batch.forecasts]
        tally.expect(len(names) == len(set(names)), f"batch at offset {record.offset}: a pair twice in {names}")
        for forecast in batch.forecasts:
            wanted = legs.get(forecast.pair, (batch.sector, forecast.leg_a, forecast.leg_b))
            told = (batch.sector, forecast.leg_a, forecast.leg_b)
            tally.expect(told == wanted, f"offset {record.offset}: {forecast.pair} of {told}, declared {wanted}")


def _by_version(evidence: Evidence) -> dict[_Key, list[BatchRecord]]:
    found: dict[_Key, list[BatchRecord]] = defaultdict(list)
    for record in evidence.forecasts.records if evidence.forecasts else ():
        model = record.batch.model
        found[record.batch.sector, model.version, model.digest].append(record)
    return found


def _last_ns(sector: SectorTicks) -> int:
    return max((beat.watermark_ns for beat in heartbeats(sector)), default=0)
