"""The page that says what each setting means."""

from pydantic.alias_generators import to_camel

from autoscaler.settings.model import PREFIX, Settings, written


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
    return "\n".join(lines)
