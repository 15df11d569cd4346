"""What goes wrong between the controller and the Kubernetes API."""

from collections.abc import Iterator
from typing import Any

from autoscaler.adapters.kubernetes.times import micro_time
from tests.fakes.kubernetes import objects
from tests.fakes.kubernetes.faults import Break
from tests.faults.injection import fault
from tests.faults.world import (
    DEPLOYMENTS,
    HASTY,
    LEASE,
    NAMESPACE,
    PATIENT,
    SITUATIONS,
    Pace,
    World,
)

SCALE = r"/scale(\?|$)"
COLLECTIONS = r"/(deployments|pods|poddisruptionbudgets)\?"


def api(
    name: str,
    *,
    cycles: int = 6,
    early: int = 0,
    demand_after: int = 0,
    pace: Pace = PATIENT,
    cut: bool = False,
    **fields: Any,
) -> None:
    """Register a fault of some requests; with `cut`, watches that are open end first."""

    @fault(name, cycles=cycles, early=early, demand_after=demand_after, pace=pace)
    def strikes(world: World) -> Iterator[None]:
        with world.api.faults.during(**fields):
            if cut:
                world.cut_watches()
            yield


api("API: every request reset", breaks=Break.RESET, cut=True, cycles=8, pace=HASTY)
api("API: every request hangs", breaks=Break.HANG, cut=True, cycles=8, pace=HASTY)
api("API: 500 for everything", status=500, cut=True, cycles=8, pace=HASTY)
api("API: 429 for everything", status=429, retry_after=30, cut=True, cycles=8, pace=HASTY)
api("API: 401 for everything", status=401, cut=True, cycles=8, pace=HASTY)
api("write: 429", method="PATCH", path=SCALE, status=429)
api("write: 429, Retry-After 30", method="PATCH", path=SCALE, status=429, retry_after=30)
api("write: 500", method="PATCH", path=SCALE, status=500)
api("write: 503", method="PATCH", path=SCALE, status=503)
api("write: 403", method="PATCH", path=SCALE, status=403)
api("write: 422", method="PATCH", path=SCALE, status=422, message="replicas: too many")
api("write: 409, always", method="PATCH", path=SCALE, status=409)
api("write: 409, once each", method="PATCH", path=SCALE, status=409, times=4)
api("write: reset before it is done", method="PATCH", path=SCALE, breaks=Break.RESET)
api("write: done, answer lost", method="PATCH", path=SCALE, breaks=Break.LOST)
api("write: done, half an answer", method="PATCH", path=SCALE, breaks=Break.HALF)
api("write: done, malformed answer", method="PATCH", path=SCALE, breaks=Break.MALFORMED)
api("write: hangs", method="PATCH", path=SCALE, breaks=Break.HANG, cycles=3, pace=HASTY)
api(
    "write: done long after we gave up", method="PATCH", path=SCALE, delay=0.4, cycles=3, pace=HASTY
)
api("count before a write: 500", method="GET", path=SCALE, status=500, pace=HASTY)
api(
    "count before a write: hangs", method="GET", path=SCALE, breaks=Break.HANG, cycles=3, pace=HASTY
)
api("watches: 410 Gone", method="WATCH", breaks=Break.GONE, cut=True)
api("watches: malformed lines", method="WATCH", breaks=Break.MALFORMED, cut=True)
api("watches: half a line", method="WATCH", breaks=Break.HALF, cut=True)
api(
    "watches hang in silence",
    method="WATCH",
    breaks=Break.HANG,
    cut=True,
    cycles=14,
    early=7,
    pace=HASTY,
)
api(
    "watches refused, lists too",
    path=COLLECTIONS,
    status=500,
    cut=True,
    cycles=14,
    early=7,
    pace=HASTY,
)
api(
    "budgets unreadable",
    path="poddisruptionbudgets",
    status=500,
    cut=True,
    cycles=14,
    early=7,
    pace=HASTY,
)
api(
    "other autoscalers unreadable",
    path="horizontalpodautoscalers",
    status=500,
    early=4,
    cycles=9,
    pace=HASTY,
)
api(
    "other autoscalers forbidden",
    path="horizontalpodautoscalers",
    status=403,
    early=4,
    cycles=9,
    pace=HASTY,
)
api("kill switch unreadable", method="GET", path="/configmaps/inference-autoscaler$", status=500)
api("lease: 500", path="/leases", status=500, early=2, demand_after=2)
api("lease: hangs", path="/leases", breaks=Break.HANG, early=2, demand_after=2, pace=HASTY)
api("lease: reset", path="/leases", breaks=Break.RESET, early=2, demand_after=2)
api("lease: 403", path="/leases", status=403, early=2, demand_after=2)
api("lease: 409, always", method="PUT", path="/leases", status=409, early=2, demand_after=2)
api("lease: written, answer lost", method="PUT", path="/leases", breaks=Break.LOST)
api(
    "state cannot be saved: 500",
    method="PUT",
    path="inference-autoscaler-state",
    status=500,
    pace=HASTY,
)
api(
    "state cannot be saved: 403",
    method="PUT",
    path="inference-autoscaler-state",
    status=403,
    pace=HASTY,
)


@fault("API away", pace=HASTY)
def away(world: World) -> Iterator[None]:
    world.api.stop()
    yield
    world.api.start()


@fault("watches cut in every cycle")
def cut(world: World) -> Iterator[None]:
    world.meanwhile = world.cut_watches
    yield
    world.meanwhile = lambda: None


@fault("watches: history forgotten")
def compacted(world: World) -> Iterator[None]:
    world.api.compact()
    world.cut_watches()
    yield


@fault("target gone")
def gone(world: World) -> Iterator[None]:
    kept = [world.api.peek(f"{DEPLOYMENTS}/{one.name}") for one in SITUATIONS]
    for one in SITUATIONS:
        world.api.request("DELETE", f"{DEPLOYMENTS}/{one.name}")
    yield
    for found in kept:
        for name in ("uid", "resourceVersion", "generation"):
            found["metadata"].pop(name, None)
    world.api.add(*kept)


@fault("target being deleted")
def deleting(world: World) -> Iterator[None]:
    kept = [world.api.peek(f"{DEPLOYMENTS}/{one.name}") for one in SITUATIONS]
    for found in kept:
        marked = {**found["metadata"], "finalizers": ["example.com/wait"]}
        world.api.add({**found, "metadata": marked})
        world.api.request("DELETE", f"{DEPLOYMENTS}/{found['metadata']['name']}")
    yield
    for one in SITUATIONS:
        path = f"{DEPLOYMENTS}/{one.name}"
        world.api.merge(path, {"metadata": {"finalizers": []}})
    for found in kept:
        for name in ("uid", "resourceVersion", "generation"):
            found["metadata"].pop(name, None)
    world.api.add(*kept)


@fault("lease stolen", early=2, demand_after=2)
def stolen(world: World) -> Iterator[None]:
    def steal(holder: str = "somebody-else") -> None:
        found = world.api.peek(LEASE)
        times = {"holderIdentity": holder, "renewTime": micro_time(world.clock.truth())}
        world.api.add({**found, "spec": {**found["spec"], **times}})

    steal()
    world.meanwhile = steal
    yield
    world.meanwhile = lambda: None
    steal("")


@fault("lease deleted", cycles=3, early=1, demand_after=1)
def deleted_lease(world: World) -> Iterator[None]:
    world.api.request("DELETE", LEASE)
    yield


@fault("an HPA appears on every target")
def rivals(world: World) -> Iterator[None]:
    for one in SITUATIONS:
        world.api.add(objects.autoscaler(one.name, one.name, namespace="llm"))
    world.clock.leap(60)
    yield
    for one in SITUATIONS:
        path = "/apis/autoscaling/v2/namespaces/llm/horizontalpodautoscalers"
        world.api.request("DELETE", f"{path}/{one.name}")


@fault("kill switch thrown")
def switched(world: World) -> Iterator[None]:
    world.api.add(objects.config_map("inference-autoscaler", namespace=NAMESPACE, paused="true"))
    yield
    world.api.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}/configmaps/inference-autoscaler")
