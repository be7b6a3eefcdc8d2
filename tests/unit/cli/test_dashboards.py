"""Grafana's dashboards: documents that Grafana takes, queries that Prometheus takes, and panels that people can read."""

import json
from typing import Any

import promql_parser
import pytest
from grafana_foundation_sdk.models.dashboard import Dashboard as GrafanaDashboard

from tandem.cli.dashboards.build import DASHBOARDS, documents, expressions
from tandem.cli.dashboards.panels import Dashboard, Query

DOCUMENTS = {name: json.loads(text) for name, text in documents().items()}
each_document = pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
each_dashboard = pytest.mark.parametrize("shown", DASHBOARDS, ids=lambda one: one.name)


def panels(document: dict[str, Any]) -> list[dict[str, Any]]:
    """All panels but the headings of rows."""
    return [panel for panel in document["panels"] if panel["type"] != "row"]


def test_each_has_its_own_name_title_and_uid() -> None:
    """Grafana would replace one by the other."""
    assert sorted(DOCUMENTS) == ["platform.json", "portfolio.json", "rollout.json", "sector.json"]
    for key in ("uid", "title"):
        assert len({document[key] for document in DOCUMENTS.values()}) == len(DOCUMENTS)
    assert all(len(document["uid"]) <= 40 for document in DOCUMENTS.values()), "Grafana refuses a longer uid"


@each_document
def test_grafanas_own_schema_reads_it(document: dict[str, Any]) -> None:
    """Read by the SDK's model of this release and written again, nothing is lost: no field is there that Grafana does not know."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    assert json.loads(json.dumps(GrafanaDashboard.from_json(document), cls=JSONEncoder)) == document


@each_document
def test_panels_lie_within_the_grid_and_not_on_each_other(document: dict[str, Any]) -> None:
    """24 columns, and every panel has an id of its own."""
    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in document["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


@each_document
def test_every_question_goes_to_the_chosen_data_source(document: dict[str, Any]) -> None:
    """Never to whatever a Grafana has as its default."""
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    variables = {variable["name"]: variable for variable in document["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert all(variable["datasource"] == chosen for name, variable in variables.items() if name != "datasource")
    for panel in panels(document):
        assert panel["datasource"] == chosen
        assert all(target["datasource"] == chosen for target in panel["targets"]), panel["title"]


@each_document
def test_every_panel_says_what_it_shows(document: dict[str, Any]) -> None:
    """A sentence, a unit, and a title that no other panel of the dashboard has."""
    titles = [panel["title"] for panel in document["panels"]]
    assert len(set(titles)) == len(titles)
    for panel in panels(document):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs), panel["title"]


@each_dashboard
def test_a_dashboard_follows_its_variables(shown: Dashboard) -> None:
    """Every query is of the chosen namespaces; what the dashboard lets choose, some query uses; no name is left unfilled."""
    texts = [query.expression for _, query in shown.queries()]
    assert all('namespace=~"$namespace"' in text for text in texts)
    known = {"namespace", *shown.variables}
    for text in texts:
        rest = text.replace("$__rate_interval", "")
        assert {word.split('"')[0] for word in rest.split("$")[1:]} <= known, text
    for variable in shown.variables:
        assert any(f"${variable}" in text for text in texts)


@pytest.mark.parametrize(("where", "expression"), list(expressions()), ids=lambda text: text[:50])
def test_every_query_is_promql(where: str, expression: str) -> None:
    """By Prometheus' grammar, every variable filled in."""
    assert "$" not in expression, where
    promql_parser.parse(expression)


def test_what_is_no_promql_is_found() -> None:
    """The grammar can refuse."""
    with pytest.raises(ValueError, match="unclosed"):
        promql_parser.parse('sum(rate(tandem_x{a=~"b"}[5m])')


def test_a_query_says_its_scope_in_one_word() -> None:
    """The same text for people's choice and for all of it."""
    query = Query('sum(rate(tandem_x_total{$sector,code="4"}[$rate]))')
    assert query.expression == 'sum(rate(tandem_x_total{namespace=~"$namespace",sector=~"$sector",code="4"}[$__rate_interval]))'
    assert query.of_everything == 'sum(rate(tandem_x_total{namespace=~".*",sector=~".*",code="4"}[5m]))'
