"""A service's own /metrics against the table of series: what it lacks, and labels that are not bounded as the table says."""

from collections import defaultdict

from prometheus_client.parser import text_string_to_metric_families

from tandem.adapters.series import METRICS, series_of
from tandem.adapters.series_labels import LABELS

_PREFIX = "tandem_"
_MADE = {"le"}  # of a histogram's buckets


def missing(service: str, page: str) -> list[str]:
    """Series of the table that the service does not serve, or serves as something else."""
    found = {family.name: family.type for family in text_string_to_metric_families(page)}
    return [name for name in series_of(service) if found.get(_PREFIX + name.removesuffix("_total")) != METRICS[name].kind]


def unbounded(page: str) -> list[str]:
    """Labels that the table does not give to a series, and labels with more values than their bound allows."""
    wrong = []
    for family in text_string_to_metric_families(page):
        if not family.name.startswith(_PREFIX):
            continue
        name = family.name.removeprefix(_PREFIX)
        metric = METRICS.get(name) or METRICS.get(f"{name}_total")
        if metric is None:
            # prometheus_client tells when a counter was made as a family of its own.
            wrong += [] if name.endswith("_created") else [f"{name} is in no table"]
            continue
        values = defaultdict(set)
        for sample in family.samples:
            for label, value in sample.labels.items():
                values[label].add(value)
        wrong += [f"{name} has the label {label}" for label in set(values) - set(metric.labels) - _MADE]
        for label in metric.labels:
            if len(values[label]) > LABELS[label].at_most:
                wrong.append(f"{name}: {len(values[label])} values of {label}, at most {LABELS[label].at_most}")
    return wrong
