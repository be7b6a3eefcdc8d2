"""What config/ declares: sectors with their symbols (sectors.yaml) and pairs (pairs/*.yaml). Reads only; cli/ rewrites.

Every error is a BadSetting that lists all faults, one a line: file and line, what was found, what is allowed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tandem.adapters.yaml_documents import Document, read_documents, read_text
from tandem.domain.control import PairSpec, TradingState
from tandem.domain.errors import BadSetting
from tandem.domain.ids import SectorId, Symbol, sector_id, symbol

if TYPE_CHECKING:
    from tandem.rollout.trading_account import TradingAccount
    from tandem.rollout.trading_pair import TradingPair

SECTORS_FILE = "sectors.yaml"
PAIRS_FOLDER = "pairs"
ALL = "all"  # the preset that every installation has: no narrowing
_KEYS = ("sectors", "active", "active_symbols", "presets")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sectors:
    """sectors.yaml. A symbol belongs to exactly one sector; all in the order of the file."""

    sectors: Mapping[SectorId, tuple[Symbol, ...]]
    active: tuple[SectorId, ...]
    presets: Mapping[str, tuple[Symbol, ...]]  # without "all"
    preset: str  # the one in use; "all" for none

    def sector_of(self, name: str) -> SectorId | None:
        """The sector that lists a symbol, None if none does."""
        return next((sector for sector, symbols in self.sectors.items() if name in symbols), None)

    def active_symbols(self, sector: str) -> tuple[Symbol, ...]:
        """The symbols of a sector that are in use: listed, and in the preset. Empty for a sector that is not active or not known."""
        return self.preset_symbols(sector) if sector in self.active else ()

    def preset_symbols(self, sector: str) -> tuple[Symbol, ...]:
        """The symbols of a sector that the preset holds, whether or not the sector is active; none for a sector that is not known."""
        return tuple(name for name in self.sectors.get(SectorId(sector), ()) if self.in_preset(name))

    def in_preset(self, name: str) -> bool:
        """True if the preset in use holds a symbol; "all" holds any."""
        return self.preset == ALL or name in self.presets[self.preset]

    def in_use(self, spec: PairSpec) -> bool:
        """True if the pair's sector is active and both legs are in use: then a platform declares it at its start."""
        return spec.sector in self.active and self.in_preset(spec.leg_a) and self.in_preset(spec.leg_b)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredPair:
    """One manifest of a TradingPair and where it stands."""

    where: str  # "file:line"
    manifest: "TradingPair"

    @property
    def spec(self) -> PairSpec:
        """The record that is published for it."""
        return self.manifest.to_spec()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredAccount:
    """One manifest of a TradingAccount and where it stands."""

    where: str  # "file:line"
    manifest: "TradingAccount"

    @property
    def state(self) -> TradingState:
        """The record that is published for it."""
        return self.manifest.to_state()


@dataclass(frozen=True, slots=True, kw_only=True)
class Declarations:
    """What some manifests declare, each in their order."""

    pairs: tuple[DeclaredPair, ...]
    accounts: tuple[DeclaredAccount, ...]


def load_sectors(config_dir: Path) -> Sectors:
    """config_dir/sectors.yaml. Raises BadSetting with all faults."""
    path = config_dir / SECTORS_FILE
    return parse_sectors(str(path), read_text(path))


def parse_sectors(file: str, text: str) -> Sectors:
    """The same from a text; `file` names it in messages."""
    documents = read_documents(file, text)
    if len(documents) != 1:
        raise BadSetting(f"{file}: {len(documents)} YAML documents, must be 1")
    return _SectorsReader(documents[0]).read()


def load_pairs(config_dir: Path) -> tuple[PairSpec, ...]:
    """The pairs declared in config_dir/pairs, in order of file name. Raises BadSetting with all faults, a pair declared twice too."""
    return tuple(pair.spec for pair in load_declared(config_dir))


def load_declared(config_dir: Path) -> tuple[DeclaredPair, ...]:
    """The same with the place of each declaration. No pair is declared where the folder is missing."""
    folder = config_dir / PAIRS_FOLDER
    return read_pairs(manifest_files(folder)) if folder.is_dir() else ()


def manifest_files(folder: Path) -> tuple[tuple[str, str], ...]:
    """(name, text) of each *.yaml and *.yml in a folder, by name; other files and hidden ones are not manifests."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in {".yaml", ".yml"} and not path.name.startswith("."))
    return tuple((str(path), read_text(path)) for path in paths)


def read_pairs(texts: Iterable[tuple[str, str]]) -> tuple[DeclaredPair, ...]:
    """All TradingPairs in some YAML texts of one or many documents each; another kind is a fault.

    texts: (name of the file, its text). Raises BadSetting with every fault of every document. A pair declared twice, also with its legs the
    other way round, is a fault.
    """
    return _read(texts, accounts=False).pairs


def read_declarations(texts: Iterable[tuple[str, str]]) -> Declarations:
    """The same for TradingPairs and TradingAccounts, in any order. An account declared twice is a fault."""
    return _read(texts, accounts=True)


def _read(texts: Iterable[tuple[str, str]], *, accounts: bool) -> Declarations:
    # pydantic takes 0.2 s to import: commands that read no manifest stay quick.
    from tandem.rollout.trading_account import TRADING_ACCOUNT, TradingAccount, parse_trading_account  # noqa: PLC0415  (see above)
    from tandem.rollout.trading_pair import TRADING_PAIR, TradingPair, parse_trading_pair  # noqa: PLC0415  (see above)

    found: list[DeclaredPair | DeclaredAccount] = []
    faults: list[str] = []
    for file, text in texts:
        try:
            documents = read_documents(file, text, as_kubectl=True)
        except BadSetting as error:
            faults.append(str(error))
            continue
        for document in documents:
            root, where = document.plain(), document.at("metadata", "name")
            if accounts and (kind := root.get("kind")) not in {TRADING_PAIR, TRADING_ACCOUNT}:
                faults.append(
                    f"{document.at('kind')}: kind: found {kind!r}, must be {TRADING_PAIR!r} or {TRADING_ACCOUNT!r} [literal_error]"
                )
                continue
            parsed = (parse_trading_account if accounts and kind == TRADING_ACCOUNT else parse_trading_pair)(root)
            if isinstance(parsed, TradingPair):
                found.append(DeclaredPair(where=where, manifest=parsed))
            elif isinstance(parsed, TradingAccount):
                found.append(DeclaredAccount(where=where, manifest=parsed))
            else:
                faults += [f"{document.at(*fault.path)}: {fault.message} [{fault.rule}]" for fault in parsed]
    declared = Declarations(
        pairs=tuple(one for one in found if isinstance(one, DeclaredPair)),
        accounts=tuple(one for one in found if isinstance(one, DeclaredAccount)),
    )
    faults += [*_declared_twice(declared.pairs), *_accounts_twice(declared.accounts)]
    _refuse(faults)
    return declared


def _declared_twice(declared: Sequence[DeclaredPair]) -> list[str]:
    first: dict[frozenset[str], DeclaredPair] = {}
    faults = []
    for pair in declared:
        legs = frozenset((pair.spec.leg_a, pair.spec.leg_b))
        if (other := first.setdefault(legs, pair)) is not pair:
            turned = "" if other.spec.pair == pair.spec.pair else f" as {other.spec.pair}"
            faults.append(f"{pair.where}: pair {pair.spec.pair} is declared{turned} at {other.where} already, once is allowed")
    return faults


def _accounts_twice(declared: Sequence[DeclaredAccount]) -> list[str]:
    first: dict[str, DeclaredAccount] = {}
    return [
        f"{one.where}: account {one.manifest.metadata.name} is declared at {other.where} already, once is allowed"
        for one in declared
        if (other := first.setdefault(one.manifest.metadata.name, one)) is not one
    ]


class _SectorsReader:
    """One pass over sectors.yaml that collects faults instead of stopping at the first."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._faults: list[str] = []

    def read(self) -> Sectors:
        root = self._document.root
        for key in root:
            if key not in _KEYS:
                self._fault((key,), f"unknown key {key!r}, allowed are {', '.join(_KEYS)}")
        sectors = self._sectors()
        active = self._active(sectors)
        everything = {name for symbols in sectors.values() for name in symbols}
        presets = {name: self._preset(name, everything) for name in self._mapping(("presets",))}
        preset = root.get("active_symbols", ALL)
        self._known(("active_symbols",), preset, (ALL, *presets), "preset")
        if not active:
            self._fault(("active",), "no sector is active, at least one must be")
        _refuse(self._faults)
        return Sectors(sectors=sectors, active=active, presets=presets, preset=preset)

    def _active(self, sectors: Mapping[SectorId, object]) -> tuple[SectorId, ...]:
        found = [(index, name) for index, name in self._texts(("active",)) if self._known(("active", index), name, sectors, "sector")]
        for index, name in found:
            if name in [earlier for _, earlier in found[: found.index((index, name))]]:
                self._fault(("active", index), f"sector {name} is active twice, once is allowed")
        return tuple(SectorId(name) for _, name in found)

    def _sectors(self) -> dict[SectorId, tuple[Symbol, ...]]:
        sectors: dict[SectorId, tuple[Symbol, ...]] = {}
        home: dict[Symbol, str] = {}
        for name in self._mapping(("sectors",)):
            try:
                sector = sector_id(name)
            except (TypeError, ValueError) as error:
                self._fault(("sectors", name), str(error))
                continue
            symbols = self._symbols(("sectors", name))
            for index, ticker in enumerate(symbols):
                if home.setdefault(ticker, name) != name:
                    self._fault(("sectors", name, index), f"symbol {ticker} is listed in sector {home[ticker]} too, one sector is allowed")
            sectors[sector] = symbols
        if not sectors:
            self._fault(("sectors",), "no sector is declared, at least one must be")
        return sectors

    def _preset(self, name: str, everything: set[Symbol]) -> tuple[Symbol, ...]:
        path = ("presets", name)
        if name == ALL:
            self._fault(path, f"preset {ALL!r} is built in and cannot be declared")
            return ()
        symbols = self._symbols(path)
        for ticker in symbols:
            if ticker not in everything:
                self._fault(path, f"preset {name}: no sector lists {ticker}")
        return symbols

    def _symbols(self, path: tuple[str, ...]) -> tuple[Symbol, ...]:
        """The symbols of the list at a path, in its order."""
        found: list[Symbol] = []
        for index, text in self._texts(path):
            try:
                ticker = symbol(text)
            except ValueError as error:
                self._fault((*path, index), str(error))
                continue
            if ticker in found:
                self._fault((*path, index), f"symbol {ticker} is listed twice, once is allowed")
            found.append(ticker)
        return tuple(found)

    def _texts(self, path: tuple[str, ...]) -> list[tuple[int, str]]:
        """The texts of the list at a path, with their places in it; an absent list is empty."""
        node: Any = self._document.root
        for step in path:
            node = node.get(step)
        if node is None:
            return []
        if not isinstance(node, list):
            self._fault(path, f"{'.'.join(path)}: found {node!r}, must be a list")
            return []
        for index, item in enumerate(node):
            if not isinstance(item, str):
                self._fault((*path, index), f"{'.'.join(path)}: found {item!r}, must be text (quote it if it is one)")
        return [(index, item) for index, item in enumerate(node) if isinstance(item, str)]

    def _mapping(self, path: tuple[str, ...]) -> list[str]:
        """The keys of the mapping at a path; an absent one has none."""
        node = self._document.root.get(path[0])
        if node is None:
            return []
        if not isinstance(node, dict):
            self._fault(path, f"{path[0]}: found {node!r}, must be a mapping of names to lists of symbols")
            return []
        return list(node)

    def _known(self, path: tuple[str | int, ...], name: object, allowed: Iterable[str], noun: str) -> bool:
        names = list(allowed)
        if name not in names:
            self._fault(path, f"unknown {noun} {name!r}, known are {', '.join(names)}")
        return name in names

    def _fault(self, path: tuple[str | int, ...], message: str) -> None:
        self._faults.append(f"{self._document.at(*path)}: {message}")


def _refuse(faults: Sequence[str]) -> None:
    if faults:
        raise BadSetting("\n".join(faults))
