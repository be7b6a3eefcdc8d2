"""The model registry over MLflow's REST interface, through httpx: what rollouts read and write of it.

Not through the mlflow package, which costs 5 s and 200 MB: supervisor and operator ask for as long as they live. Bundles are logged and
loaded by mlflow_registry.py. The interface: https://mlflow.org/docs/latest/api_reference/rest-api.html
"""

import ssl
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Self

import httpx

from tandem.domain.errors import Permanent, Transient
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId
from tandem.rollout.observed import RegisteredVersion
from tandem.rollout.registry_names import CHAMPION, DIGEST_TAG, PAIRS_TAG, QUARANTINE_TAG, TRAINED_TO_TAG

_TIMEOUT_S = 5.0
_PAGE = 200  # versions in one answer
_PAGES_MAX = 50  # of a model: one version a day for decades
_READY = {"READY", ""}  # a version whose registration is under way or has failed is none yet; "": servers that do not say
_ABSENT = frozenset({"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"})  # MLflow's for a model, version or alias that is not there
_REFUSED: frozenset[str] = frozenset()


@cache
def _certificates() -> ssl.SSLContext:
    """Those of this machine, read once: it takes longer than an answer."""
    return httpx.create_ssl_context(trust_env=False)


class Registry:
    """One MLflow server. Raises Transient when it does not answer, Permanent when it refuses. Safe to use from several threads."""

    def __init__(self, tracking_uri: str, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._uri = tracking_uri.rstrip("/")
        self._client = httpx.Client(timeout=timeout_s, trust_env=False, verify=_certificates())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of its connections."""
        self._client.close()

    def versions(self, name: str) -> tuple[RegisteredVersion, ...]:
        """All versions of a registered model, the newest first; none when there is no such model."""
        model = self._ask("GET", "registered-models/get", params={"name": name})
        if model is None:
            return ()
        aliases: dict[str, list[str]] = {}
        # Not from the search: its answers may leave out the aliases (mlflow issue 16734).
        for row in model["registered_model"].get("aliases", ()):
            aliases.setdefault(str(row["version"]), []).append(str(row["alias"]))
        found = [_version(row, aliases.get(str(row["version"]), ())) for row in self._search(name) if row.get("status", "") in _READY]
        return tuple(sorted(found, key=lambda version: int(version.version), reverse=True))

    def champion(self, name: str) -> ModelRef | None:
        """The champion of a registered model, None if there is none. Raises Permanent when it has no digest."""
        found = self._ask("GET", "registered-models/alias", params={"name": name, "alias": CHAMPION})
        if found is None:
            return None
        number, tags = str(found["model_version"]["version"]), _tags(found["model_version"])
        if DIGEST_TAG not in tags:
            raise Permanent(f"{name} version {number} has no tag {DIGEST_TAG}: it was not registered by `tandem train`")
        return ModelRef(name=name, version=number, digest=tags[DIGEST_TAG])

    def pairs(self, name: str, version: str) -> tuple[PairId, ...] | None:
        """The pairs of a version's bundle, in order of id; None when there is no such version or it does not say."""
        found = self._ask("GET", "model-versions/get", params={"name": name, "version": version})
        return _pairs(_tags(found["model_version"])) if found is not None else None

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Let an alias name a version; version "" removes the alias, and one that is not there already is no error."""
        if version:
            self._ask("POST", "registered-models/alias", body={"name": name, "alias": alias, "version": version}, absent=_REFUSED)
        else:
            self._ask("DELETE", "registered-models/alias", body={"name": name, "alias": alias})

    def set_tag(self, name: str, version: str, key: str, value: str) -> None:
        """Set a tag of a version."""
        self._ask("POST", "model-versions/set-tag", body={"name": name, "version": version, "key": key, "value": value}, absent=_REFUSED)

    def delete_tag(self, name: str, version: str, key: str) -> None:
        """Remove a tag of a version; one that is not there already is no error."""
        self._ask("DELETE", "model-versions/delete-tag", body={"name": name, "version": version, "key": key})

    def _search(self, name: str) -> Iterator[Mapping[str, Any]]:
        token = ""
        for _ in range(_PAGES_MAX):
            asked = {"filter": f"name='{name}'", "max_results": str(_PAGE)} | ({"page_token": token} if token else {})
            answer = self._ask("GET", "model-versions/search", params=asked) or {}
            yield from answer.get("model_versions", ())
            token = answer.get("next_page_token", "")
            if not token:
                return
        raise Permanent(f"{name} has more than {_PAGES_MAX * _PAGE} versions: delete those that are not used any more")

    def _ask(
        self,
        method: str,
        call: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, str] | None = None,
        absent: frozenset[str] = _ABSENT,
    ) -> dict[str, Any] | None:
        """The answer's document; None when the answer is one of the `absent` errors: what is asked for does not exist."""
        try:
            answer = self._client.request(method, f"{self._uri}/api/2.0/mlflow/{call}", params=params, json=body)
            document = answer.json() if answer.content else {}
        except httpx.HTTPError as error:
            raise Transient(f"MLflow at {self._uri}: {error or type(error).__name__}") from error
        except ValueError as error:
            raise Transient(f"MLflow at {self._uri} answers {answer.status_code} without JSON") from error
        if answer.is_success and isinstance(document, dict):
            return document
        code = document.get("error_code", "") if isinstance(document, dict) else ""
        if code in absent:
            return None
        kind = Permanent if answer.is_client_error and answer.status_code != httpx.codes.TOO_MANY_REQUESTS else Transient
        raise kind(f"MLflow at {self._uri} answers {answer.status_code} to {call}: {code} {_message(document)}".rstrip())


def _version(row: Mapping[str, Any], aliases: Sequence[str]) -> RegisteredVersion:
    tags = _tags(row)
    trained_to = tags.get(TRAINED_TO_TAG, "")
    return RegisteredVersion(
        version=str(row["version"]),
        digest=tags.get(DIGEST_TAG, ""),
        aliases=tuple(sorted(aliases)),
        quarantined=(tags[QUARANTINE_TAG] or "no reason given") if QUARANTINE_TAG in tags else "",
        trained_to_ns=int(trained_to) if trained_to.isdecimal() else 0,
        pairs=_pairs(tags) or (),
        created_s=int(row.get("creation_timestamp", 0)) / 1000,
    )


def _pairs(tags: Mapping[str, str]) -> tuple[PairId, ...] | None:
    return tuple(sorted(map(PairId, tags[PAIRS_TAG].split(",")))) if tags.get(PAIRS_TAG) else None


def _tags(row: Mapping[str, Any]) -> dict[str, str]:
    return {str(tag["key"]): str(tag.get("value", "")) for tag in row.get("tags", ())}


def _message(document: object) -> str:
    return str(document.get("message", ""))[:300] if isinstance(document, dict) else ""
