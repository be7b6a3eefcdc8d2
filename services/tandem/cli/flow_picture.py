"""The flow of Tandem as one picture, drawn from a table of boxes and arrows, with the topics' names from the code. Called by generate.py.

An SVG with a ground of its own, so that it reads the same in a light page, in a dark one and in the repository; nothing is fetched
to show it.
"""

from typing import NamedTuple
from xml.sax.saxutils import escape

from tandem.adapters import topics

_WIDTH, _HEIGHT = 1060, 470
_LINE = 17  # between the lines of a box's text
_FILL = {
    "service": ("#e3ecfb", "#2f5fb3"),
    "topic": ("#fff1d6", "#b07a12"),
    "store": ("#e2f3e6", "#2c7a43"),
    "outside": ("#eeeeee", "#666666"),
}
_STYLE = (
    "text{font:13px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#1c1c1c}"
    ".b{font-weight:600;font-size:12px}.s{font-size:11.5px;fill:#444}"
)


class Box(NamedTuple):
    """A part of the picture: its kind decides its colour; the first line of the text is its name."""

    kind: str
    x: int
    y: int
    width: int
    lines: tuple[str, ...]

    @property
    def height(self) -> int:
        """High enough for its lines."""
        return 20 + _LINE * len(self.lines)


class Arrow(NamedTuple):
    """A way through given points, with a word beside its first part."""

    points: tuple[tuple[int, int], ...]
    word: str = ""
    word_at: tuple[int, int] = (0, 0)


BOXES = (
    Box("outside", 20, 70, 130, ("Alpaca", "or the recycler:", "recorded data, its", "own exchange")),
    Box("service", 200, 79, 110, ("ingestor", "frames of ticks,", "heartbeats")),
    Box("topic", 355, 88, 180, (topics.ticks("<sector>"), "one per sector")),
    Box("service", 580, 79, 130, ("forecaster", "BentoML, one per", "sector and version")),
    Box("topic", 750, 88, 140, (topics.FORECASTS, "batch per bar")),
    Box("service", 920, 79, 120, ("portfolio", "signal, size, two", "legs, books")),
    Box("service", 580, 210, 130, ("recorder", "bars, scores")),
    Box("store", 760, 210, 280, ("PostgreSQL", "ledger and audit chain, bars, scores")),
    Box("store", 920, 300, 120, ("Redis", "cached answers")),
    Box("service", 760, 300, 120, ("dashboard", "only reads")),
    Box("outside", 10, 370, 180, ("kubectl or tandem apply", "pairs, accounts")),
    Box("service", 230, 370, 150, ("operator", "or tandem rollout:", "judges versions")),
    Box("topic", 425, 379, 130, (topics.CONTROL, "compacted")),
    Box("service", 20, 250, 160, ("trainer", "screens, fits, scores")),
    Box("store", 230, 250, 150, ("MLflow", "bundles with digests")),
)
ARROWS = (
    Arrow(((150, 114), (200, 114)), "trades", (153, 107)),
    Arrow(((310, 114), (355, 114))),
    Arrow(((535, 114), (580, 114))),
    Arrow(((710, 114), (750, 114))),
    Arrow(((890, 114), (920, 114))),
    Arrow(((980, 79), (980, 30), (85, 30), (85, 70)), "orders; executions come back", (440, 22)),
    Arrow(((445, 142), (445, 237), (580, 237))),
    Arrow(((820, 142), (820, 180), (645, 180), (645, 210))),
    Arrow(((710, 237), (760, 237))),
    Arrow(((980, 150), (980, 210)), "intent, then order", (860, 172)),
    Arrow(((1030, 150), (1050, 170), (1050, 327), (1040, 327))),
    Arrow(((820, 264), (820, 300))),
    Arrow(((180, 277), (230, 277)), "", (0, 0)),
    Arrow(((305, 304), (305, 370)), "new version", (312, 342)),
    Arrow(((380, 277), (540, 277), (540, 160), (600, 160), (600, 150)), "at its start only", (400, 270)),
    Arrow(((100, 424), (100, 445), (490, 445), (490, 433)), "", (0, 0)),
    Arrow(((380, 406), (425, 406))),
    Arrow(((555, 406), (705, 406)), "every service follows it", (562, 399)),
)


def picture() -> str:
    """The picture as an SVG document."""
    parts = [_arrow(arrow) for arrow in ARROWS] + [_box(box) for box in BOXES]
    return (
        "<!-- Made by `make generate` from services/tandem/cli/flow_picture.py. Edit the code instead. -->\n"
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="t">\n'
        '<title id="t">How market data becomes forecasts, orders and books</title>\n'
        f"<style>{_STYLE}</style>\n"
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#555"/></marker></defs>\n'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="8" fill="#fbfbfb"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _box(box: Box) -> str:
    fill, line = _FILL[box.kind]
    radius = 22 if box.kind == "topic" else 5
    shape = f'<rect x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="{radius}" fill="{fill}" stroke="{line}"/>'
    middle = box.x + box.width // 2
    text = "".join(
        f'<text class="{"s" if number else "b"}" x="{middle}" y="{box.y + 22 + number * _LINE}" text-anchor="middle">{escape(words)}</text>'
        for number, words in enumerate(box.lines)
    )
    return shape + text


def _arrow(arrow: Arrow) -> str:
    points = " ".join(f"{x},{y}" for x, y in arrow.points)
    line = f'<polyline points="{points}" fill="none" stroke="#555" stroke-width="1.4" marker-end="url(#a)"/>'
    if not arrow.word:
        return line
    x, y = arrow.word_at
    return line + f'<text class="s" x="{x}" y="{y}">{escape(arrow.word)}</text>'
