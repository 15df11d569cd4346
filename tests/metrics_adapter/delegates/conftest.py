"""Our adapter with another behind it, on loopback."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.metrics_adapter.cluster import FakeCluster
from tests.metrics_adapter.conftest import AS_HPA, Answer, Running, Start
from tests.metrics_adapter.incumbents import CUSTOM_GROUP, Incumbent, Keda, Older

OBJECT = "namespaces/web/services/shop"


@pytest.fixture
def incumbent(tmp_path: Path) -> Iterator[Incumbent]:
    server = Keda(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def behind(incumbent: Incumbent, cluster: FakeCluster) -> dict[str, Any]:
    """How the incumbent is asked."""
    return incumbent.asked_with(cluster.token_file)


@pytest.fixture
def delegating(start: Start, behind: dict[str, Any]) -> Running:
    return start(delegates={"external": behind})


@pytest.fixture
def older(tmp_path: Path) -> Iterator[Older]:
    server = Older(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def behind_custom(older: Older, cluster: FakeCluster) -> dict[str, Any]:
    """How one that serves custom.metrics.k8s.io is asked."""
    return older.asked_with(cluster.token_file)


@pytest.fixture
def with_older(start: Start, behind_custom: dict[str, Any]) -> Running:
    return start(delegates={"custom": behind_custom})


def ask(adapter: Running, rest: str = f"{OBJECT}/hits") -> Answer:
    """Ask our adapter for a value of custom.metrics.k8s.io, as an HPA does."""
    return adapter.get(f"{CUSTOM_GROUP}/v1beta2/{rest}", AS_HPA)
