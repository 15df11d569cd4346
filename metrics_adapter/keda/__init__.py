"""KEDA's external scaler: a ScaledObject follows the plan; see README.md.

Nothing here imports gRPC before `make_server` is called.
"""

import os
from typing import TYPE_CHECKING

from autoscaler.core.errors import ConfigError
from metrics_adapter.keda.settings import KedaSettings
from metrics_adapter.newest import Newest

if TYPE_CHECKING:
    from metrics_adapter.keda.server import KedaServer

__all__ = ["KedaSettings", "make_server"]


def make_server(newest: Newest, settings: KedaSettings) -> "KedaServer":
    """Return a server that answers KEDA from `newest`; it listens once it is started.

    Raises:
        ConfigError: gRPC is not installed.
    """
    # What its C library has to say of other people's handshakes goes past our log otherwise.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from metrics_adapter.keda.server import KedaServer
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"KEDA's external scaler needs the module {error.name}; install the extra: "
            "pip install 'inference-autoscaler[keda]'"
        ) from error
    return KedaServer(newest, settings)
