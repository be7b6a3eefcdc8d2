"""The model registry in MLflow: log a bundle as a run and a version, read it back verified, move aliases.

Imported by trainer and forecaster at their start; mlflow takes seconds to import, so it is imported where it is used.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import tandem
from tandem.domain.errors import BadRecord, Permanent, TandemError, Transient
from tandem.domain.forecasts import ModelRef
from tandem.domain.units import utc
from tandem.flow.decision_digest import FILE as RECORDING
from tandem.flow.decision_digest import Recording
from tandem.flow.decision_digest import decode as decode_recording
from tandem.flow.decision_digest import encode as encode_recording
from tandem.quant.bundle import Bundle, decode, encode, model_name
from tandem.rollout.registry_names import (
    CHAMPION,
    COMMIT_TAG,
    DATA_TAG,
    DIGEST_TAG,
    PAIRS_TAG,
    PREVIOUS,
    REPLAY_TAG,
    SEED_TAG,
    TAG_PREFIX,
    TRAINED_TO_TAG,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

_FOLDER = "bundle"  # of the bundle's files within the logged model
_LOADER_MODULES = (
    "__init__.py",
    "domain/*.py",
    "quant/__init__.py",
    "quant/bundle.py",
    "quant/hybrid.py",
    "quant/network.py",
    "quant/volatility.py",
    "adapters/__init__.py",
    "adapters/onnx_network.py",
    "adapters/pyfunc_loader.py",
)
_PARAM_CHARACTERS_MAX = 6_000  # MLflow's limit on a parameter's value
_NOTE_CHARACTERS_MAX = 5_000  # what MLflow's table holds as the description of a version
_ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"}
# mlflow retries for minutes by default; our callers decide themselves how long to wait for a server.
_URI_VARIABLE = "MLFLOW_TRACKING_URI"
_CLIENT_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # in the log of a pod that dies it would hide the reason
}


def log_and_register(
    tracking_uri: str,
    bundle: Bundle,
    card: str,
    *,
    summary: str = "",
    figures: Mapping[str, bytes] | None = None,
    commit: str = "",
    recorded: Recording | None = None,
) -> ModelRef:
    """Log a run with parameters, metrics, card and the bundle as a pyfunc, and register it as a new version.

    summary: what the registry shows of the card as the version's description; the card by default. figures: file -> content of pictures
    that lie beside the card. commit: of the code that trained; not part of the bundle, whose digest must not depend on it.
    recorded: what the replay gate runs; a version without it starts only where the policy asks for no replay.
    A version with the same digest is not made twice: its ModelRef is returned. Raises Transient when the server cannot be reached.
    """
    name, digest = model_name(bundle.sector), bundle.digest
    with _mlflow(tracking_uri) as client:
        if (known := _version_with(client, name, digest)) is not None:
            return ModelRef(name=name, version=known, digest=digest)
        experiment = _experiment(client, f"pairs_trading/{bundle.sector}")
        note = (summary or card)[:_NOTE_CHARACTERS_MAX]
        tags = {
            DIGEST_TAG: digest,
            DATA_TAG: bundle.data_digest,
            SEED_TAG: str(bundle.seed),
            COMMIT_TAG: commit or "unknown",
            TRAINED_TO_TAG: str(bundle.trained_to_ns),
            PAIRS_TAG: ",".join(sorted(pair.pair for pair in bundle.pairs)),
        }
        files = {"model_card.md": card.encode()} | dict(figures or {})
        if recorded is not None:
            tags[REPLAY_TAG] = recorded.decided.digest
            files[RECORDING] = encode_recording(recorded)
        version = _log(client, experiment, bundle, tags=tags | {"mlflow.note.content": note}, files=files)
        client.update_model_version(name, version, description=note)
    return ModelRef(name=name, version=version, digest=digest)


def load_bundle(tracking_uri: str, name: str, version: str) -> tuple[ModelRef, Bundle]:
    """A registered version with its digest verified, against its own document and against the registry's tag.

    Raises Permanent when there is no such version, BadRecord when its content is not what was registered, Transient without a server.
    """
    import mlflow.artifacts  # noqa: PLC0415  (see the module's first lines)

    with _mlflow(tracking_uri) as client, tempfile.TemporaryDirectory(prefix="tandem-bundle-") as folder:
        tags: Mapping[str, str] = client.get_model_version(name, version).tags
        place = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/{version}", dst_path=folder, tracking_uri=tracking_uri))
        if not (place / "data" / _FOLDER).is_dir():
            raise BadRecord("bundle_missing", f"{name} version {version} holds no folder data/{_FOLDER}: not registered by `tandem train`")
        files = {file.name: file.read_bytes() for file in (place / "data" / _FOLDER).iterdir()}
    bundle = decode(files)
    if tags.get(DIGEST_TAG) != bundle.digest:
        raise BadRecord(
            "bundle_digest", f"{name} version {version} has digest {bundle.digest}, the registry's tag says {tags.get(DIGEST_TAG)}"
        )
    return ModelRef(name=name, version=version, digest=bundle.digest), bundle


def load_recording(tracking_uri: str, ref: ModelRef) -> tuple[str, Recording] | None:
    """The digest that the registry's tag states and the recorded span of a version; None when it was registered without one.

    Raises Permanent when there is no such version, BadRecord when the span cannot be read, Transient without a server.
    """
    import mlflow.artifacts  # noqa: PLC0415  (see the module's first lines)

    with _mlflow(tracking_uri) as client, tempfile.TemporaryDirectory(prefix="tandem-recording-") as folder:
        version = client.get_model_version(ref.name, ref.version)
        stated = version.tags.get(REPLAY_TAG, "")
        if not stated or not version.run_id:
            return None
        place = mlflow.artifacts.download_artifacts(
            run_id=version.run_id, artifact_path=RECORDING, dst_path=folder, tracking_uri=tracking_uri
        )
        return stated, decode_recording(Path(place).read_bytes())


def set_alias(tracking_uri: str, name: str, alias: str, version: str) -> None:
    """Let an alias name a version. Raises Permanent when there is no such version, Transient without a server."""
    with _mlflow(tracking_uri) as client:
        client.set_registered_model_alias(name, alias, version)


def resolve_alias(tracking_uri: str, name: str, alias: str) -> str | None:
    """The version that an alias names now; None when the model or the alias does not exist."""
    with _mlflow(tracking_uri) as client:
        return _alias(client, name, alias)


def aliases_of(tracking_uri: str, ref: ModelRef) -> tuple[str, ...]:
    """The aliases that name a version now, in alphabetical order."""
    with _mlflow(tracking_uri) as client:
        return tuple(sorted(client.get_model_version(ref.name, ref.version).aliases))


def promote(tracking_uri: str, ref: ModelRef) -> None:
    """Make a version the champion; the one it replaces becomes `previous`. Doing it twice changes nothing."""
    with _mlflow(tracking_uri) as client:
        old = _alias(client, ref.name, CHAMPION)
        if old == ref.version:
            return
        if old is not None:
            client.set_registered_model_alias(ref.name, PREVIOUS, old)
        client.set_registered_model_alias(ref.name, CHAMPION, ref.version)


def _log(client: "MlflowClient", experiment: str, bundle: Bundle, *, tags: Mapping[str, str], files: Mapping[str, bytes]) -> str:
    """One run with these tags and these files beside the model; the version's number."""
    import mlflow  # noqa: PLC0415  (see the module's first lines)
    from mlflow.models import ModelSignature  # noqa: PLC0415
    from mlflow.types import Schema, TensorSpec  # noqa: PLC0415

    name = model_name(bundle.sector)
    shape = (-1, bundle.sequence, len(bundle.features))
    signature = ModelSignature(
        # Without names, so that MLflow hands the array over as it is and not in a dict.
        inputs=Schema([TensorSpec(np.dtype(np.float32), shape)]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, 2))]),
    )
    run_name = f"{name}_{utc(bundle.trained_to_ns):%Y%m%d}"
    with mlflow.start_run(experiment_id=experiment, run_name=run_name) as run, tempfile.TemporaryDirectory() as folder:
        mlflow.log_params(_parameters(bundle))
        mlflow.log_metrics(bundle.metrics)
        mlflow.set_tags(dict(tags))
        mlflow.log_artifacts(str(_written(Path(folder) / "card", files)))
        place = _written(Path(folder) / _FOLDER, encode(bundle))
        model = mlflow.pyfunc.log_model(
            name="model",
            loader_module="tandem.adapters.pyfunc_loader",
            data_path=str(place),
            code_paths=[str(_code(Path(folder)))],
            input_example=np.zeros((1, *shape[1:]), dtype=np.float32),
            signature=signature,
            pip_requirements=_requirements(),
            metadata={"digest": bundle.digest, "features": list(bundle.features)},
        )
        own = {key: value for key, value in tags.items() if key.startswith(TAG_PREFIX)}
        registered = mlflow.register_model(model.model_uri, name, tags=own)
        client.set_tag(run.info.run_id, "tandem.version", registered.version)
    return str(registered.version)


def _written(folder: Path, files: Mapping[str, bytes]) -> Path:
    """The folder, made, with these files."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def _code(folder: Path) -> Path:
    """A copy of the few modules that `_load_pyfunc` needs, so that a client without Tandem can load the model, too."""
    source, target = Path(tandem.__file__).parent, folder / "tandem"
    for pattern in _LOADER_MODULES:
        for file in sorted(source.glob(pattern)):
            place = target / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
    return target


def _requirements() -> list[str]:
    """What `_load_pyfunc` needs, as installed here. Explicit, because guessing would start a process and import everything."""
    from importlib.metadata import version  # noqa: PLC0415  (used once, here)

    return [f"{package}=={version(package)}" for package in ("mlflow", "numpy", "onnxruntime")]


def _parameters(bundle: Bundle) -> dict[str, str]:
    flat = _flattened(bundle.settings) | {
        "sector": bundle.sector,
        "bar": bundle.bar,
        "pairs": ",".join(pair.pair for pair in bundle.pairs),
        "pairs_tested": str(len(bundle.tests)),
        "pairs_rejected": ",".join(f"{r.pair}:{r.reason}" for r in bundle.rejections) or "none",
        "trained_from": utc(bundle.trained_from_ns).isoformat(),
        "trained_to": utc(bundle.trained_to_ns).isoformat(),
        "holdout_from": utc(bundle.holdout_from_ns).isoformat(),
        "data_digest": bundle.data_digest,
        "cell": bundle.cell,
        "members": str(bundle.members),
        "trial": str(bundle.trial),
        "trials": str(bundle.trials),
        "volatility": ",".join(f"{p.pair}:{p.volatility.kind}-{p.volatility.shocks}" for p in bundle.pairs),
        "symbols_rejected": ",".join(f"{r.symbol}:{r.reason}" for r in bundle.rejected_symbols) or "none",
        "features": ",".join(bundle.features),
    }
    return {key: value[:_PARAM_CHARACTERS_MAX] for key, value in flat.items()}


def _flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in settings.items():
        flat |= _flattened(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": str(value)}
    return flat


def _experiment(client: "MlflowClient", name: str) -> str:
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id) if found is not None else str(client.create_experiment(name))


def _version_with(client: "MlflowClient", name: str, digest: str) -> str | None:
    versions = client.search_model_versions(f"name = '{name}' and tags.`{DIGEST_TAG}` = '{digest}'")
    return max((str(v.version) for v in versions), key=int, default=None)


def _alias(client: "MlflowClient", name: str, alias: str) -> str | None:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415  (see the module's first lines)

    try:
        return str(client.get_model_version_by_alias(name, alias).version)
    except MlflowException as error:
        if error.error_code in _ABSENT:
            return None
        raise


@contextmanager
def _mlflow(tracking_uri: str) -> Iterator["MlflowClient"]:
    """A client of this server; mlflow's errors leave as ours."""
    for name, value in _CLIENT_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: PLC0415  (see the module's first lines)
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    given = os.environ.get(_URI_VARIABLE)
    mlflow.set_tracking_uri(tracking_uri)
    try:
        yield mlflow.MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
    except TandemError:
        raise
    except MlflowException as error:
        kind = Permanent if error.error_code in _ABSENT else Transient
        raise kind(f"MLflow at {tracking_uri}: {error.message}") from error
    except OSError as error:  # requests' connection errors derive from it
        raise Transient(f"MLflow at {tracking_uri}: {error}") from error
    finally:  # mlflow tells child processes by the environment; a platform started from here would take this server for a given one
        if given is None:
            os.environ.pop(_URI_VARIABLE, None)
        else:
            os.environ[_URI_VARIABLE] = given
