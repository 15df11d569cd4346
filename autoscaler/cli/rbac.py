"""autoscaler rbac."""

from pathlib import Path
from typing import Annotated

import typer

from autoscaler.cli.words import emit, say


def rbac(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Policy files or folders; without any, the rights that are shipped."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings of the controller, one YAML mapping.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(help="Namespace that the controller runs in.")
    ] = None,
    shadow: Annotated[
        bool | None, typer.Option("--shadow", help="Only what shadow mode needs: nothing changes.")
    ] = None,
    add_on: Annotated[
        bool,
        typer.Option("--add-on", help="Only what the policy files need beyond what is shipped."),
    ] = False,
    into: Annotated[
        Path | None, typer.Option(help="Write files into this folder instead of printing.")
    ] = None,
) -> None:
    """Print the least rights that policy files need: service account, roles and bindings.

    Each rule has its reason beside it. Nothing reads a Secret. Names of what the controller keeps
    (leaseName, stateName, namespace) come from its settings, as `autoscaler run` would read them.
    """
    from autoscaler.adapters.kubernetes.rbac import (
        Own,
        base_rights,
        fleet_rights,
        shadowed,
        without,
    )
    from autoscaler.adapters.kubernetes.role_files import base_files, role_file
    from autoscaler.core.errors import ConfigError
    from autoscaler.settings import read_settings

    if add_on and not files:
        raise ConfigError("--add-on: name the policy files whose targets it is for")
    settings = read_settings(config, {"namespace": namespace, "shadow": shadow})
    own = Own(
        settings.namespace,
        lease=settings.lease_name if settings.leader_election else "",
        state=settings.state_name if settings.state == "config-map" else "",
    )
    rights = base_rights(own)
    if files:
        from autoscaler.config import load_fleet

        needed = fleet_rights(load_fleet(files), own)
        rights = without(needed, rights) if add_on else needed
    if settings.shadow:
        rights = shadowed(rights)
    if not add_on:
        whole = base_files(rights, settings.namespace)
    else:
        suffix = "-more"
        whole = {
            f"rbac-{half}{suffix}.yaml": role_file(
                rights, settings.namespace, writes=writes, suffix=suffix
            )
            for half, writes in (("read", False), ("write", True))
        }
    whole = {name: text for name, text in whole.items() if "kind:" in text}
    if not whole:
        say("nothing more is needed than what is shipped")
        return
    if into is None:
        emit("---\n".join(whole.values()).rstrip("\n"))
        return
    try:
        into.mkdir(parents=True, exist_ok=True)
        for name, text in whole.items():
            (into / name).write_text(text, encoding="utf-8")
            say(f"{into / name} written")
    except OSError as error:
        raise ConfigError(f"{into}: cannot be written to: {error.strerror}") from error
