"""A page's tables of text, as Streamlit's AppTest holds them."""

from xml.etree import ElementTree

from streamlit.testing.v1 import AppTest


def tables(page: AppTest) -> list[list[dict[str, str]]]:
    """Each as its rows: a dict by the columns' titles."""
    return [_rows(ElementTree.fromstring(shown.proto.body)) for shown in page.get("html")]


def _rows(box: ElementTree.Element) -> list[dict[str, str]]:
    names = [cell.text or "" for cell in box.iter("th")]
    return [dict(zip(names, (cell.text or "" for cell in row.iter("td")), strict=True)) for row in box.iterfind(".//tbody/tr")]
