"""The page that says what each setting means."""

from collections.abc import Iterator
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from autoscaler.adapters.prometheus.settings import SourceSettings
from autoscaler.settings.model import PREFIX, Settings, written

EXAMPLE: Final = """\
listenAddress: 0.0.0.0  # in a pod, for its probes, its Service and the metrics adapter
sources:
  - name: default
    url: https://prometheus.monitoring:9090
    auth:
      bearerTokenFile: /var/run/secrets/prometheus/token
    tls:
      caFile: /etc/prometheus-ca/ca.crt
  - name: mimir
    url: https://mimir.example.com/prometheus
    auth:
      basic:
        username: autoscaler
        passwordFile: /var/run/secrets/mimir/password
    headers:
      X-Scope-OrgID: team-llm
    timeoutSeconds: 5
"""
"""A whole file of settings with two sources."""

ON_ONE_LINE: Final = (
    '[{name: default, url: "https://prometheus.monitoring:9090", '
    "tls: {caFile: /etc/prometheus-ca/ca.crt}}]"
)
"""A list of sources as the environment holds it."""


def document() -> str:
    """Return a page that says what each setting means, in Markdown."""
    lines = [
        "# Settings",
        "",
        "What `autoscaler run` can be told about the process itself. Flags win over the",
        "environment, that over the file of `--config`, the file over defaults. A flag exists for",
        "the usual ones; `--set NAME=VALUE` takes any. `autoscaler settings` prints them as they",
        "are, and where each comes from. This page is made by `autoscaler settings --markdown`.",
        "",
        "| in the file | in the environment | default | what, and why |",
        "|---|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = written(field.get_default(call_default_factory=True))
        what = " ".join((field.description or "").split())
        lines.append(f"| `{to_camel(name)}` | `{PREFIX}{name.upper()}` | {default} | {what} |")
    lines += [
        "",
        "A name that is no setting is an error in the file and with `--set`, and a warning in the",
        f"environment, for Kubernetes itself may set `{PREFIX}...` in a pod.",
        "",
        "## A source",
        "",
        "`prometheus` is enough where an address says everything. With a token, a CA, a tenant or",
        "a second server, list them under `sources`; a policy file picks one with `spec.source`,",
        "and `default` where it says nothing. A whole file:",
        "",
        "```yaml",
        *EXAMPLE.splitlines(),
        "```",
        "",
        "Files with tokens and passwords are read again for every call, so that they can be",
        "rotated. The same list on one line, for the environment or `--set`:",
        "",
        "```sh",
        f"export {PREFIX}SOURCES='{ON_ONE_LINE}'",
        "```",
        "",
        "| field of a source | default | what, and why |",
        "|---|---|---|",
        *_rows(SourceSettings, ""),
    ]
    return "\n".join(lines)


def _rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """Yield a row for each field, and those of what it consists of below it."""
    for name, field in model.model_fields.items():
        parts = next(iter(_models(field.annotation)), None)
        path = f"{prefix}{to_camel(name)}"
        given = None if parts else field.get_default(call_default_factory=True)
        default = "required" if field.is_required() else "" if given == {} else written(given)
        what = " ".join((field.description or "").split())
        yield f"| `{path}` | {default} | {what} |"
        if parts is not None:
            yield from _rows(parts, f"{path}.")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that an annotation names."""
    if get_origin(annotation) in (Union, UnionType):
        for one in get_args(annotation):
            yield from _models(one)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
