"""Grafana's documents of the dashboards, made with its own foundation SDK, so that a field that Grafana does not know cannot be written.

The SDK is for developing only: what it makes is committed, and `make verify` compares.
"""

import json
from collections.abc import Callable, Iterator, Mapping

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import prometheus as prometheus_models

from tandem.cli.dashboards import platform, portfolio, rollout, sector
from tandem.cli.dashboards.panels import Dashboard, Look, Panel, Query, Variable

DASHBOARDS = (platform.PLATFORM, sector.SECTOR, portfolio.PORTFOLIO, rollout.ROLLOUT)
TAG = "tandem"
_DATA = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
_GOOD, _BAD = "green", "red"
# label_values of series that some service of every installation has.
_LABELS: Mapping[Variable, tuple[str, str]] = {
    "sector": ("Sector", 'label_values(tandem_ingestor_ticks_total{namespace=~"$namespace"}, sector)'),
    "account": ("Account", 'label_values(tandem_portfolio_open_pairs{namespace=~"$namespace"}, tandem_trading_account)'),
}
_Builder = timeseries.Panel | stat.Panel | statetimeline.Panel | table.Panel
_NAMESPACES = 'label_values({__name__=~"tandem_(ingestor_connected|operator_leader|portfolio_open_pairs)"}, namespace)'


def documents() -> dict[str, str]:
    """Each dashboard's JSON by its file's name."""
    return {f"{one.name}.json": document(one) for one in DASHBOARDS}


def expressions() -> Iterator[tuple[str, str]]:
    """(where, PromQL) of every query of every dashboard, as Prometheus takes it."""
    for one in DASHBOARDS:
        for panel, query in one.queries():
            yield f"{one.name}: {panel}", query.of_everything


def document(shown: Dashboard) -> str:
    """One dashboard as JSON text."""
    built = (
        dashboard.Dashboard(shown.title)
        .uid(f"tandem-{shown.name}")
        .description(shown.help)
        .tags([TAG])
        .readonly()
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("America/New_York")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(dashboard.DashboardLink("Tandem").type(models.DashboardLinkType.DASHBOARDS).tags([TAG]).keep_time(True).include_vars(True))
        .annotation(_annotation("Alerts", 'ALERTS{alertstate="firing",alertname=~"Tandem.*",namespace=~"$namespace|"}', "red"))
        .annotation(_annotation("Rollouts", 'changes(tandem_operator_rollouts_total{namespace=~"$namespace"}[2m]) > 0', "purple"))
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_choice("namespace", "Namespace", _NAMESPACES))
    )
    for variable in shown.variables:
        built.with_variable(_choice(variable, *_LABELS[variable]))
    for row in shown.rows:
        built.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            built.with_panel(_panel(panel))
    return json.dumps(_numbered(built.build()), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def _numbered(built: models.Dashboard) -> models.Dashboard:
    """With ids, by which links and screenshots name a panel."""
    for number, panel in enumerate(built.panels or (), start=1):
        panel.id_val = number
    return built


def _choice(name: str, label: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(_DATA)
        .query({"query": query, "refId": name})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(text="All", value="$__all"))
    )


def _annotation(name: str, expression: str, colour: str) -> dashboard.AnnotationQuery:
    return dashboard.AnnotationQuery().name(name).datasource(_DATA).expr(expression).enable(True).icon_color(colour)


def _panel(panel: Panel) -> _Builder:
    made = _LOOKS[panel.look](panel)
    made.title(panel.title)
    made.description(panel.help)
    made.datasource(_DATA)
    made.unit(panel.unit)
    made.span(panel.width)
    made.height(panel.height)
    made.no_value("no data")
    if panel.limit is not None:
        made.thresholds(_limit(panel.limit, panel.good))
    for index, query in enumerate(panel.queries):
        made.with_target(_target(query, chr(ord("A") + index), panel.look))
    return made


def _lines(panel: Panel) -> timeseries.Panel:
    made = timeseries.Panel().line_width(1).fill_opacity(0).show_points(common_models.VisibilityMode.AUTO)
    if not panel.signed:
        made.min(0)
    if panel.limit is not None:
        made.thresholds_style(common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.DASHED))
    legend = common.VizLegendOptions().display_mode(common_models.LegendDisplayMode.LIST).show_legend(True)
    made.legend(legend.placement(common_models.LegendPlacement.BOTTOM))
    return made.tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI).sort(common_models.SortOrder.DESCENDING))


def _bars(panel: Panel) -> timeseries.Panel:
    made = _lines(panel).draw_style(common_models.GraphDrawStyle.BARS).fill_opacity(60)
    return made.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))


def _number(_: Panel) -> stat.Panel:
    reduced = common.ReduceDataOptions().calcs(["lastNotNull"])
    return stat.Panel().reduce_options(reduced).graph_mode(common_models.BigValueGraphMode.NONE)


def _states(_: Panel) -> statetimeline.Panel:
    return statetimeline.Panel().merge_values(True).show_value(common_models.VisibilityMode.NEVER).row_height(0.8)


def _table(_: Panel) -> table.Panel:
    # Prometheus adds what the panel has no use for: when it was asked, and the 1 of an info series.
    hidden = {
        "Time": True,
        "__name__": True,
        "Value": True,
        "job": True,
        "instance": True,
        "pod": True,
        "endpoint": True,
        "container": True,
    }
    return table.Panel().with_transformation(models.DataTransformerConfig(id_val="organize", options={"excludeByName": hidden}))


_LOOKS: Mapping[Look, Callable[[Panel], _Builder]] = {
    "lines": _lines,
    "bars": _bars,
    "number": _number,
    "states": _states,
    "table": _table,
}


def _limit(value: float, good: str) -> dashboard.ThresholdsConfig:
    below, above = (_GOOD, _BAD) if good == "below" else (_BAD, _GOOD)
    steps = [models.Threshold(value=None, color=below), models.Threshold(value=value, color=above)]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _target(query: Query, letter: str, look: Look) -> prometheus.Dataquery:
    made = prometheus.Dataquery().expr(query.expression).legend_format(query.legend).ref_id(letter).datasource(_DATA)
    if look == "table":
        return made.instant().format(prometheus_models.PromQueryFormat.TABLE)
    return made.instant() if look == "number" else made.range()
