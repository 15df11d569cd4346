"""autoscaler adapter."""

from pathlib import Path
from typing import Annotated

import typer


def adapter(
    config: Annotated[
        Path | None, typer.Option(help="Settings, one YAML mapping; see metrics_adapter/README.md.")
    ] = None,
    controller: Annotated[
        str | None, typer.Option(help="Address of the controller, such as http://autoscaler:8090.")
    ] = None,
    listen_address: Annotated[
        str | None, typer.Option(help="Address that the metrics APIs are served at.")
    ] = None,
    listen_port: Annotated[int | None, typer.Option(help="Their port; 0 takes a free one.")] = None,
    namespace: Annotated[str | None, typer.Option(help="Our own namespace.")] = None,
    log_format: Annotated[str, typer.Option(help="json or console.")] = "json",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve the controller's numbers to HorizontalPodAutoscalers.

    Answers external.metrics.k8s.io and custom.metrics.k8s.io behind the API server's aggregation
    layer, until SIGTERM or Ctrl-C. Decides nothing itself.
    """
    from autoscaler.core.errors import ConfigError
    from autoscaler.telemetry.logs import LEVELS, set_up_logs
    from metrics_adapter.process import serve
    from metrics_adapter.settings import read_settings

    if log_format not in ("json", "console"):
        raise ConfigError(f"--log-format: should be json or console, not {log_format!r}")
    if log_level not in LEVELS:
        raise ConfigError(f"--log-level: should be one of {', '.join(LEVELS)}, not {log_level!r}")
    flags = {
        "controller.url": controller,
        "serving.host": listen_address,
        "serving.port": listen_port,
        "namespace": namespace,
    }
    given = {name: value for name, value in flags.items() if value is not None}
    settings = read_settings(config, given)
    set_up_logs(log_format, log_level)
    serve(settings)
