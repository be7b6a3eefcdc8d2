"""`tandem deadletter`: what could not be used, why, and a second try once the cause is gone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from time import time_ns
from typing import Annotated, Any

import msgpack
import orjson
import typer

from tandem.adapters import topics
from tandem.adapters.codec import decode_control, decode_forecasts, decode_tick_record, encode_control, encode_frame
from tandem.adapters.control_log import read_control
from tandem.adapters.deadletter import MARKET_DATA, Letter, note_replayed, read_letters
from tandem.adapters.kafka_log import KafkaWriter
from tandem.cli.output import print_facts, print_json, print_table, remark
from tandem.cli.running import Home, kafka_servers, settings_of
from tandem.cli.symbols import Json
from tandem.domain.errors import BadRecord, Permanent
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.units import NS_PER_S
from tandem.ingestor.past import Past
from tandem.ingestor.pump import routes_of
from tandem.ingestor.second_try import frames_of, read_again
from tandem.ingestor.tail import read_past

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False, help=__doc__)
_CLIENT = "tandem-deadletter"
_OVERLAP_NS = 60 * NS_PER_S  # how much of a topic's end is searched for the tick besides what came after its last heartbeat
_SHOWN_BYTES = 2_000
Reason = Annotated[str, typer.Option(help="Only letters with this reason, e.g. price_invalid.")]


@app.command("list")
def list_letters(
    *,
    reason: Reason = "",
    service: Annotated[str, typer.Option(help="Only what this service parked.")] = "",
    topic: Annotated[str, typer.Option(help="Only what came from this topic; market-data for the stream.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    home: Home = None,
    json: Json = False,
) -> None:
    """Letters, newest first, and how many there are of each reason."""
    letters = _chosen(_letters(home), reason=reason, service=service, topic=topic)
    newest = letters[::-1][:limit]
    if json:
        print_json([_document(letter) for letter in newest])
        return
    if not letters:
        remark("the dead letter holds nothing of that kind" if reason or service or topic else "the dead letter is empty")
        return
    rows = [(str(e.offset), _when(e), e.service, e.topic, e.reason, e.detail, "yes" if e.replayed else "") for e in newest]
    print_table(["offset", "parked", "service", "topic", "reason", "detail", "replayed"], rows, right=["offset"])
    counts = Counter(letter.reason for letter in letters)
    remark(f"{len(letters)} letters: " + ", ".join(f"{count} {name}" for name, count in counts.most_common()))


@app.command("show")
def show(
    offset: Annotated[int, typer.Argument(help="The letter's offset, as `list` shows it.")], home: Home = None, json: Json = False
) -> None:
    """One letter with what it holds, as far as that can be read."""
    letter = _one(_letters(home), offset)
    document = _document(letter) | {"content": _content(letter), "payload_hex": letter.payload[:_SHOWN_BYTES].hex()}
    if json:
        print_json(document)
        return
    print_facts({name: str(value) for name, value in document.items() if name != "content"})
    print_json(document["content"])


@app.command("replay")
def replay(
    offsets: Annotated[list[int] | None, typer.Argument(help="Letters by offset, as `list` shows them.")] = None,
    *,
    reason: Reason = "",
    again: Annotated[bool, typer.Option("--again", help="Also letters that were replayed before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would become of them.")] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Give letters a second try: market data into the sectors' topics, records into the topic that they came from.

    A letter that is still unusable stays, with its reason; so does a tick whose bar has closed. Exit code 1 if any stayed.
    """
    servers = kafka_servers(settings_of(home))
    letters = read_letters(servers, client_id=_CLIENT)
    chosen = [_one(letters, offset) for offset in offsets or ()] or _chosen(letters, reason=reason)
    if not offsets and not reason:
        raise Permanent("name letters by their offsets, or choose them by --reason")
    desk = _Desk(servers, dry_run=dry_run)
    try:
        fates = [desk.give(letter) for letter in chosen if again or not letter.replayed]
    finally:
        desk.close()
    stayed = sum(fate.reason != "" for fate in fates)
    if json:
        print_json({"dry_run": dry_run, "letters": [asdict(fate) for fate in fates]})
    else:
        for fate in fates:
            fate.tell(dry_run=dry_run)
    if skipped := sum(letter.replayed for letter in chosen) if not again else 0:
        remark(f"{skipped} were replayed before; --again replays them once more")
    if stayed:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fate:
    """What became of a letter: the topics that it went to, or the reason for which it stays."""

    offset: int
    topics: list[str]
    reason: str = ""

    def tell(self, *, dry_run: bool) -> None:
        """Say it."""
        if self.reason:
            remark(f"{self.offset}: stays: {self.reason}")
        else:
            places = ", ".join(self.topics) or "nowhere: the topics hold it already"
            typer.echo(f"{self.offset}: {'would go' if dry_run else 'went'} to {places}")


class _Desk:
    """Puts letters where they belong, one after the other."""

    def __init__(self, servers: str, *, dry_run: bool) -> None:
        table, control = read_control(servers, _CLIENT)
        control.close()
        self._servers, self._dry_run = servers, dry_run
        self._routes = routes_of(table.pairs)
        self._symbols: list[Symbol] = sorted({symbol for members in self._routes.values() for symbol in members})
        self._writer = KafkaWriter(servers, _CLIENT)

    def give(self, letter: Letter) -> _Fate:
        """Put the letter where it belongs."""
        try:
            if letter.is_cut:
                raise BadRecord("payload_cut", f"{len(letter.payload)} of {letter.payload_bytes} bytes were kept")
            records = self._records(letter)
        except BadRecord as error:
            return _Fate(offset=letter.offset, topics=[], reason=str(error))
        if not self._dry_run:
            for topic, key, value in records:
                self._writer.publish(topic, value, key=key)
            note_replayed(self._writer, [letter.offset])
            self._writer.flush()
        return _Fate(offset=letter.offset, topics=sorted({topic for topic, _, _ in records}))

    def _records(self, letter: Letter) -> list[tuple[str, bytes | None, bytes]]:
        """(topic, key, value) of what the letter becomes. Raises BadRecord if it is still unusable."""
        if letter.topic == MARKET_DATA:
            pasts = self._pasts()
            ticks = read_again(letter.payload, self._symbols, time_ns(), pasts)
            frames = frames_of(ticks, self._symbols, self._routes, pasts)
            return [(topics.ticks(frame.sector), None, encode_frame(frame)) for frame in frames]
        if letter.topic == topics.CONTROL:
            record = decode_control(letter.payload)
            key, value = encode_control(record)
            return [(topics.CONTROL, key, value)]
        if letter.topic == topics.FORECASTS:
            return [(topics.FORECASTS, decode_forecasts(letter.payload).sector.encode(), letter.payload)]
        if letter.topic.startswith(topics.ticks("")):
            if letter.reason == "tick_late":
                raise BadRecord("tick_late", "the bar has closed; every reader would park it again")
            decode_tick_record(letter.payload)
            return [(letter.topic, None, letter.payload)]
        raise BadRecord("topic_unknown", f"topic {letter.topic!r} takes nothing back")

    def _pasts(self) -> Mapping[SectorId, Past]:
        """Read for each letter: the one before may have added to them."""
        found = {s: read_past(self._servers, s, client_id=_CLIENT, overlap_ns=_OVERLAP_NS) for s in self._routes}
        return {sector: past for sector, past in found.items() if past is not None}

    def close(self) -> None:
        """Let go of the connection."""
        self._writer.close()


def _letters(home: Any) -> list[Letter]:
    return read_letters(kafka_servers(settings_of(home)), client_id=_CLIENT)


def _chosen(letters: Sequence[Letter], *, reason: str = "", service: str = "", topic: str = "") -> list[Letter]:
    wanted = {"reason": reason, "service": service, "topic": topic}
    return [letter for letter in letters if all(not value or getattr(letter, name) == value for name, value in wanted.items())]


def _one(letters: Sequence[Letter], offset: int) -> Letter:
    found = next((letter for letter in letters if letter.offset == offset), None)
    if found is None:
        span = f"it holds {letters[0].offset} to {letters[-1].offset}" if letters else "it is empty"
        raise Permanent(f"the dead letter has no letter at offset {offset}; {span}")
    return found


def _when(letter: Letter) -> str:
    return datetime.fromtimestamp(letter.parked_ms / 1000, UTC).isoformat(sep=" ", timespec="milliseconds")


def _document(letter: Letter) -> dict[str, Any]:
    return {
        "offset": letter.offset,
        "parked": _when(letter),
        "service": letter.service,
        "topic": letter.topic,
        "reason": letter.reason,
        "detail": letter.detail,
        "payload_bytes": letter.payload_bytes,
        "replayed": letter.replayed,
    }


def _content(letter: Letter) -> Any:
    """What the payload says, in a form that JSON can hold; its text where it is no more than that, None where it is not even a text."""
    try:
        if letter.topic == MARKET_DATA:
            return orjson.loads(orjson.dumps(msgpack.unpackb(letter.payload), default=repr, option=orjson.OPT_NON_STR_KEYS))
        if letter.topic.startswith(topics.ticks("")):
            return repr(decode_tick_record(letter.payload))
        return orjson.loads(letter.payload)
    except (BadRecord, ValueError, TypeError, msgpack.UnpackException):
        text = letter.payload[:_SHOWN_BYTES].decode(errors="replace")
        return text if text and text.isprintable() and "\ufffd" not in text else None
