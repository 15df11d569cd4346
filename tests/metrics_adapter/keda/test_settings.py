"""Settings that cannot work, or would let anybody in, are refused before anything listens."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from autoscaler.core.errors import ConfigError
from metrics_adapter.keda import KedaSettings, make_server
from metrics_adapter.keda.server import KedaServer
from metrics_adapter.newest import Newest

FILES = {"certFile": "tls.crt", "keyFile": "tls.key", "clientCaFile": "ca.crt"}


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="this machine alone needs no certificate"),
        pytest.param({"host": "::1"}, id="version 6"),
        pytest.param({"host": "0.0.0.0", **FILES}, id="everybody, with certificates"),
    ],
)
def test_settings_that_are_fine(settings: dict[str, Any]) -> None:
    assert KedaSettings.model_validate(settings).secure is bool(set(settings) & set(FILES))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        pytest.param({"host": "0.0.0.0"}, "should be 127.0.0.1 or ::1, not '0.0.0.0'", id="open"),
        pytest.param({"host": "scaler"}, "should be 127.0.0.1 or ::1, not 'scaler'", id="a name"),
        *[
            pytest.param(
                {name: FILES[name]},
                "certFile, keyFile and clientCaFile should be given together",
                id=f"{name} alone",
            )
            for name in FILES
        ],
        pytest.param({"reflection": True}, "Extra inputs are not permitted", id="unknown name"),
        pytest.param({"maxStreams": 0}, "greater than 0", id="no streams"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        KedaSettings.model_validate(settings)


def test_a_server_is_made_where_grpc_is_installed() -> None:
    assert isinstance(make_server(Newest(), KedaSettings(port=0)), KedaServer)


def test_without_grpc_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "metrics_adapter.keda.server")
    monkeypatch.setitem(sys.modules, "grpc", None)

    with pytest.raises(ConfigError) as caught:
        make_server(Newest(), KedaSettings(port=0))

    assert str(caught.value) == (
        "KEDA's external scaler needs the module grpc; install the extra: "
        "pip install 'inference-autoscaler[keda]'"
    )


LIST_MODULES = """
import json, sys
import metrics_adapter.keda
import metrics_adapter.settings
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_grpc_is_not_imported_before_a_server_is_made() -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", LIST_MODULES], cwd=root, capture_output=True, text=True, check=True
    )

    assert {"grpc", "grpc_health", "google"} & set(json.loads(done.stdout)) == set()
