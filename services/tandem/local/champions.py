"""Which version of a sector's model MLflow calls champion, asked over its REST interface.

Not through the mlflow package: the supervisor asks for as long as a sector has no model, and the package costs 5 s and 200 MB.
"""

import httpx

from tandem.adapters.mlflow_registry import CHAMPION, DIGEST_TAG
from tandem.domain.errors import Permanent, Transient
from tandem.domain.forecasts import ModelRef
from tandem.quant.bundle import model_name

_TIMEOUT_S = 5.0


def champion(tracking_uri: str, sector: str) -> ModelRef | None:
    """The champion of a sector, None if there is none. Raises Transient when MLflow does not answer, Permanent when it has no digest."""
    name = model_name(sector)
    try:
        with httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
            answer = client.get(f"{tracking_uri}/api/2.0/mlflow/registered-models/alias", params={"name": name, "alias": CHAMPION})
    except httpx.HTTPError as error:
        raise Transient(f"MLflow at {tracking_uri}: {error or type(error).__name__}") from error
    if answer.is_server_error:
        raise Transient(f"MLflow at {tracking_uri} answers {answer.status_code}")
    if not answer.is_success:  # 404: no such model; 400: the model has no such alias
        return None
    version = answer.json()["model_version"]
    tags = {tag["key"]: tag["value"] for tag in version.get("tags", ())}
    if DIGEST_TAG not in tags:
        raise Permanent(f"{name} version {version['version']} has no tag {DIGEST_TAG}: it was not registered by `tandem train`")
    return ModelRef(name=name, version=str(version["version"]), digest=tags[DIGEST_TAG])
