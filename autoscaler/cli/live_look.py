"""The latest cycle of a running controller, or one made now: for `autoscaler explain`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from autoscaler.cli.words import say

if TYPE_CHECKING:  # commands import what they need when they run
    from autoscaler.core.decision import Cycle

_SECONDS = 30.0


def ask_controller(url: str, token_file: Path | None, name: str) -> tuple["Cycle", str, str]:
    """Return the latest cycle of the controller at `url`, and which workload is meant.

    Returns:
        The cycle, the workload's key, and the name of its node pool (empty without one).

    Raises:
        ConfigError: The address or the token is none, or no workload has the name.
        ObservationError: The controller does not answer.
    """
    from autoscaler.core.errors import ConfigError, ObservationError
    from autoscaler.journal import decode

    if urlsplit(url).scheme not in ("http", "https"):
        raise ConfigError(f"--url: should begin with http:// or https://, not {url!r}")
    base = url.rstrip("/")
    found = _asked(f"{base}/v1/workloads/{quote(name)}", token_file)
    row = found["workload"]
    key = f"{row['namespace']}/{row['name']}"
    pool = found.get("nodePool") or {}
    document = _asked(f"{base}/v1/cycles/latest", token_file)["document"]
    try:
        return decode(document, {}), key, str(pool.get("name", ""))
    except (ValueError, TypeError) as error:
        raise ObservationError(f"{base}: its latest cycle cannot be read here") from error


def _asked(url: str, token_file: Path | None) -> dict[str, Any]:
    from autoscaler.core.errors import ConfigError, ObservationError

    headers = {"Accept": "application/json"}
    if token_file is not None:
        try:
            headers["Authorization"] = f"Bearer {token_file.read_text(encoding='utf-8').strip()}"
        except OSError as error:
            raise ConfigError(f"{token_file}: {(error.strerror or '').lower()}") from error
    try:
        with urlopen(Request(url, headers=headers), timeout=_SECONDS) as answer:  # noqa: S310
            read: dict[str, Any] = json.load(answer)
            return read
    except HTTPError as error:
        with error:
            said = _said(error.read(4096))
        if error.code in (404, 409):
            raise ConfigError(f"{url}: {said}") from error
        raise ObservationError(f"{url}: {error.code} {said}") from error
    except (URLError, OSError, ValueError) as error:
        why = getattr(error, "reason", error)
        raise ObservationError(f"{url}: no answer: {why}") from error


def _said(body: bytes) -> str:
    try:
        return str(json.loads(body).get("error", ""))
    except (ValueError, AttributeError):
        return ""


def look_now(
    policies: list[Path], config: Path | None, flags: dict[str, Any], name: str
) -> tuple["Cycle", str, str]:
    """Return a cycle made now, with live signals and live targets, that changes nothing.

    What was decided before is taken from the state that the controller keeps, where that can be
    read. Else the cycle says that nothing is lowered for that reason.

    Returns:
        As `ask_controller`.

    Raises:
        ConfigError: Files or settings are wrong, or no workload has the name.
    """
    from autoscaler.compose import live_service, policy_files
    from autoscaler.core.errors import ConfigError
    from autoscaler.settings import read_settings, unknown_variables
    from autoscaler.telemetry.logs import set_up_logs

    set_up_logs("console", "warning")
    settings = read_settings(config, {**flags, "shadow": True})
    for warning in unknown_variables():
        say(f"warning: {warning}")
    files = policy_files(settings, policies)
    workloads = files.loaded.fleet.workloads
    found = [one for one in workloads if name in (one.key, one.metadata.name)]
    if len(found) != 1:
        rule = "several workloads are called" if found else "no workload is called"
        known = ", ".join(one.key for one in workloads)
        raise ConfigError(f"{policies[0]}: {rule} {name!r}; there are: {known}")
    service = live_service(settings, files, follow=False, from_saved_state=True)
    try:
        report = service.once(wait_seconds=0.0)
    finally:
        service.stop()
    return report.cycle, found[0].key, found[0].spec.replica.node_pool or ""
