"""SectorModel manifests in config/models: which version a sector follows and how a new one takes over, where no cluster says so.

The same manifests are kubectl's; what only a cluster can do (replicas, resources, pods) is read and has no effect here.
"""

from pathlib import Path

from tandem.adapters.config_files import manifest_files
from tandem.adapters.yaml_documents import read_documents
from tandem.domain.errors import BadSetting
from tandem.domain.ids import SectorId
from tandem.rollout.sector_model import SectorModel, SectorModelSpec, parse_sector_model

FOLDER = "models"


def load_models(config_dir: Path) -> dict[SectorId, SectorModelSpec]:
    """What is declared, by sector; a sector without a manifest has the defaults. Raises BadSetting with every fault of every file."""
    folder = config_dir / FOLDER
    found: dict[SectorId, SectorModelSpec] = {}
    faults: list[str] = []
    for file, text in manifest_files(folder) if folder.is_dir() else ():
        for document in read_documents(file, text, as_kubectl=True):
            parsed = parse_sector_model(document.plain())
            if not isinstance(parsed, SectorModel):
                faults += [f"{document.at(*fault.path)}: {fault.message} [{fault.rule}]" for fault in parsed]
            elif (sector := SectorId(parsed.spec.sector)) in found:
                faults.append(f"{document.at('spec', 'sector')}: sector {sector} has a SectorModel already, one is allowed")
            else:
                found[sector] = parsed.spec
    if faults:
        raise BadSetting("\n".join(faults))
    return found


def model_of(models: dict[SectorId, SectorModelSpec], sector: SectorId) -> SectorModelSpec:
    """What is declared of a sector, or the defaults."""
    return models.get(sector) or SectorModelSpec(sector=sector)
