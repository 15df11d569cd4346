"""A live controller as it is composed: what its ends know of each other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autoscaler import compose as composing
from autoscaler.adapters import acting
from autoscaler.compose import compose, policy_files
from autoscaler.config.reload import PolicyFiles
from autoscaler.core.errors import ConfigError
from autoscaler.core.observation import Intervention, InterventionKind
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from autoscaler.service import Alone, Parts, Service
from autoscaler.settings import read_settings
from tests.builders import NOON, Wants, a_fleet, a_workload
from tests.config.test_reload import GOOD, written
from tests.fakes.kubernetes import FakeApiServer, objects
from tests.waiting import until

OURS = "inference-autoscaler"


def within(namespace: str, name: str = "chat") -> ScaledWorkload:
    whole = a_workload(Wants(replicas=2), name=name)
    metadata = whole.metadata.model_copy(update={"namespace": namespace})
    return whole.model_copy(update={"metadata": metadata})


CHAT = within("llm")


class Stage:
    """A cluster, and controllers that look at it once at a time."""

    def __init__(self, api: FakeApiServer) -> None:
        self.api = api
        self.opened: list[Parts] = []
        self.now = NOON

    def compose(self, fleet: FleetSpec, **flags: Any) -> Parts:
        given = {"kubeconfig": api_file(self.api), "leader_election": False, "state": "none"}
        settings = read_settings(flags={**given, **flags})
        self.opened.append(compose(settings, fleet, clock=lambda: self.now, follow=False))
        return self.opened[-1]

    def look(
        self, parts: Parts, fleet: FleetSpec, workload: ScaledWorkload = CHAT
    ) -> tuple[Intervention, ...]:
        """Return what others have said, 15 s after the last look."""
        self.now += 15
        snapshot = parts.observer.observe(fleet, self.now)
        return snapshot.observations[workload.key].interventions

    def scale(self, replicas: int, manager: str, namespace: str = "llm") -> None:
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/chat/scale"
        self.api.merge(path, {"spec": {"replicas": replicas}}, fieldManager=manager)


def api_file(api: FakeApiServer) -> str:
    return str(api.kubeconfig_path)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with FakeApiServer(tmp_path) as api:
        api.add(objects.deployment("chat", namespace="llm", replicas=2))
        made = Stage(api)
        yield made
        for parts in made.opened:
            parts.close()


POOL = """\
apiVersion: inference-autoscaler.dev/v1alpha1
kind: NodePool
metadata: {name: h100}
spec:
  actuation: scale
  nodes: {min: 0, max: 4}
  gpusPerNode: 8
"""


@pytest.mark.parametrize(
    ("broken", "text", "problem"),
    [
        (
            "chat",
            GOOD.format(name="chat", most=4) + "  source: eu\n",
            (
                "chat.yaml:10: spec.source: 'eu' is not configured: llm/chat would see nothing; "
                "configured are: default; `sources` lists such ones"
            ),
        ),
        (
            "h100",
            POOL,
            (
                "h100.yaml:4: spec.target: should name the object that makes the nodes "
                "(apiVersion, kind, name, namespace) where actuation is scale, and is missing"
            ),
        ),
    ],
    ids=["a source", "a pool"],
)
def test_a_file_that_does_not_suit_the_process_is_refused_whenever_it_comes(
    tmp_path: Path, broken: str, text: str, problem: str
) -> None:
    written(tmp_path)
    settings = read_settings(flags={"prometheus": "http://prometheus:9090"})
    files = policy_files(settings, [tmp_path])
    good = files.loaded.fleet

    (tmp_path / f"{broken}.yaml").write_text(text)

    assert not files.look()
    assert (files.loaded.fleet, files.problem) == (good, f"{tmp_path}/{problem}")
    with pytest.raises(ConfigError) as refused:
        policy_files(settings, [tmp_path])
    assert str(refused.value) == f"{tmp_path}/{problem}"


def test_a_process_that_only_watches_sizes_no_pool(tmp_path: Path) -> None:
    (tmp_path / "h100.yaml").write_text(POOL)

    files = policy_files(read_settings(flags={"shadow": True}), [tmp_path])

    assert [pool.key for pool in files.loaded.fleet.pools] == ["h100"]


def test_a_number_that_kubectl_set_is_left_alone_once_and_not_after_every_start(
    stage: Stage, tmp_path: Path
) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    path = written(folder, most=9)
    path.write_text(path.read_text().replace("spec:\n", "spec:\n  actuation: scale\n", 1))
    stage.api.add(objects.config_map("another", namespace=OURS))
    files = PolicyFiles([folder])
    stage.scale(3, "kubectl")

    def once_more(after: float) -> list[InterventionKind]:
        """Run one cycle in a process of its own."""
        stage.now += after
        parts = stage.compose(files.loaded.fleet, state="config-map")
        settings = read_settings(flags={"leader_election": False})
        service = Service(settings, files, parts, clock=lambda: stage.now)
        seen = service.once(0).cycle.snapshot.observations[CHAT.key]
        service.stop()
        return [one.kind for one in seen.interventions]

    assert once_more(0) == [InterventionKind.EDITED]
    assert once_more(1700) == [InterventionKind.EDITED]
    assert once_more(200) == []
    assert once_more(36_000) == []


def test_a_kill_switch_that_is_late_pauses_everything_until_it_was_read(stage: Stage) -> None:
    fleet = a_fleet(CHAT)
    stage.api.add(objects.config_map("another", namespace=OURS))
    late = stage.api.faults.add(method="GET", path=f"/configmaps/{OURS}$", delay=60.0, times=None)
    parts = stage.compose(fleet, observe_seconds=2.0)

    unread = stage.look(parts, fleet)
    stage.api.faults.clear()
    until(lambda: stage.look(parts, fleet) == (), "the switch is read")

    assert late.hits == 1
    assert [one.kind for one in unread] == [InterventionKind.PAUSED]
    assert "until the kill switch was read once" in unread[0].text


class Lease(Alone):
    """Held or not, as a test says."""

    def __init__(self) -> None:
        self.held = False

    def is_leader(self) -> bool:
        return self.held


def test_in_shadow_mode_the_writes_of_the_one_that_acts_are_no_edits(stage: Stage) -> None:
    fleet = a_fleet(CHAT)
    shadow, alone = stage.compose(fleet, shadow=True), stage.compose(fleet)
    for parts in (shadow, alone):
        assert stage.look(parts, fleet) == ()

    stage.scale(0, OURS)  # zero is nobody's in managedFields, whoever set it

    assert stage.look(shadow, fleet) == ()
    (edit,) = stage.look(alone, fleet)
    assert edit.kind is InterventionKind.EDITED


def test_a_new_leader_does_not_take_the_last_change_of_the_one_before_for_an_edit(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, fleet = Lease(), a_fleet(CHAT)
    monkeypatch.setattr(composing, "_leadership", lambda *_: lease)
    standby = stage.compose(fleet)
    stage.look(standby, fleet)
    stage.scale(0, OURS)
    lease.held = True

    assert stage.look(standby, fleet) == ()
    stage.scale(3, "kubectl")
    (edit,) = stage.look(standby, fleet)
    assert edit.kind is InterventionKind.EDITED


def test_an_hpa_in_a_namespace_that_comes_with_new_policy_files_is_seen_at_once(
    stage: Stage,
) -> None:
    other = within("other")
    stage.api.add(
        objects.deployment("chat", namespace="other", replicas=2),
        objects.autoscaler("theirs", "chat", namespace="other"),
    )
    before, after = a_fleet(CHAT), a_fleet(CHAT, other)
    parts = stage.compose(before)
    stage.look(parts, before)

    parts.replan(after)

    (held,) = stage.look(parts, after, other)
    assert held.kind is InterventionKind.SUSPENDED
    assert "HorizontalPodAutoscaler other/theirs" in held.text


def test_a_fleet_that_grows_over_many_namespaces_is_looked_at_everywhere(stage: Stage) -> None:
    places = [f"team-{number}" for number in range(9)]
    stage.api.add(
        *(objects.deployment("chat", namespace=place, replicas=2) for place in places),
        objects.autoscaler("theirs", "chat", namespace="team-8"),
    )
    before, after = a_fleet(CHAT), a_fleet(*map(within, places))
    parts = stage.compose(before)
    stage.look(parts, before)
    stage.api.requests.clear()

    parts.replan(after)

    (held,) = stage.look(parts, after, within("team-8"))
    assert held.kind is InterventionKind.SUSPENDED
    assert len(stage.api.requests.matching("GET", "horizontalpodautoscalers")) == 1


def test_a_workload_that_comes_back_with_another_number_starts_anew(stage: Stage) -> None:
    fleet = a_fleet(CHAT)
    parts = stage.compose(fleet)
    stage.look(parts, fleet)
    parts.replan(a_fleet(within("llm", "other")))
    stage.scale(0, "kubectl")
    parts.replan(fleet)

    assert stage.look(parts, fleet) == ()


def test_another_target_of_the_same_workload_starts_anew(stage: Stage) -> None:
    stage.api.add(objects.deployment("chat-v2", namespace="llm", replicas=7))
    spec = CHAT.spec.model_copy(
        update={"target": CHAT.spec.target.model_copy(update={"name": "chat-v2"})}
    )
    before, after = a_fleet(CHAT), a_fleet(CHAT.model_copy(update={"spec": spec}))
    parts = stage.compose(before)
    stage.look(parts, before)

    parts.replan(after)

    assert stage.look(parts, after) == ()


@pytest.mark.parametrize(
    ("act", "lease", "renew", "most"),
    [
        pytest.param(4.0, 15.0, 10.0, 2.0, id="the cycle's time"),
        pytest.param(4.0, 11.0, 10.0, 1.0, id="the time until another can lead"),
    ],
)
def test_what_begins_while_we_lead_ends_before_another_can(
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    act: float,
    lease: float,
    renew: float,
    most: float,
) -> None:
    bounds: dict[str, float] = {}

    def recorded(name: str, made: Any) -> Any:
        def make(*args: Any, deadline_seconds: float, **options: Any) -> Any:
            bounds[name] = deadline_seconds
            return made(*args, deadline_seconds=deadline_seconds, **options)

        return make

    for where, name in ((composing, "Drain"), (acting, "Scaler"), (acting, "PoolScaler")):
        monkeypatch.setattr(where, name, recorded(name, getattr(where, name)))

    stage.compose(a_fleet(CHAT), act_seconds=act, lease_seconds=lease, renew_seconds=renew)

    assert bounds == {"Drain": most / 2, "Scaler": most, "PoolScaler": most}
