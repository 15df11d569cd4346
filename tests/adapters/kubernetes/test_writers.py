"""Who else writes the number: autoscalers, GitOps, people."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.gitops import tracked
from autoscaler.adapters.kubernetes.managed_fields import owners
from autoscaler.adapters.kubernetes.scalers import (
    HPA,
    SCALED_OBJECT,
    Reference,
    Scalers,
    scaler_of,
)
from autoscaler.adapters.kubernetes.times import micro_time, read_time, said_time
from autoscaler.adapters.kubernetes.writers import Respect, interventions
from autoscaler.core.observation import Intervention, InterventionKind
from autoscaler.core.spec import Actuation
from tests.builders import NOON
from tests.fakes.kubernetes import FakeApiServer

CHAT = Reference("apps/v1", "Deployment", "llm", "chat")
HOUR = 3600.0
NOBODY = Scalers(read_at=NOON)


def wrote(
    manager: str,
    at: float | None = NOON,
    *,
    apply: bool = False,
    sub: str = "",
    fields: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """An entry of managedFields that owns spec.replicas, unless other fields are given."""
    return {
        "manager": manager,
        "operation": "Apply" if apply else "Update",
        "apiVersion": "apps/v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:replicas": {}}} if fields is None else fields,
        **({} if at is None else {"time": said_time(at)}),
        **({"subresource": sub} if sub else {}),
    }


def a_target(
    *entries: dict[str, Any],
    created: float = NOON - HOUR,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "chat",
            "namespace": "llm",
            "creationTimestamp": said_time(created),
            "labels": labels or {},
            "annotations": annotations or {},
            "managedFields": list(entries),
        },
        "spec": {"replicas": 3},
    }


def an_hpa(own: str = "chat", **ref: str) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat", **ref}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": HPA,
        "metadata": {"name": own, "namespace": "llm"},
        "spec": {"scaleTargetRef": target, "maxReplicas": 5},
    }


def scalers(*found: tuple[str, dict[str, Any]], **changes: Any) -> Scalers:
    read = [scaler_of(kind, item) for kind, item in found]
    return Scalers(tuple(one for one in read if one), **{"read_at": NOON, **changes})


def said(
    target: dict[str, Any], found: Scalers = NOBODY, now: float = NOON + 60.0, **options: Any
) -> tuple[Intervention, ...]:
    return interventions(target, CHAT, Actuation.SCALE, found, now, **options)


# --- autoscalers -----------------------------------------------------------------------------


def test_an_hpa_on_the_target_suspends_it() -> None:
    (one,) = said(a_target(), scalers((HPA, an_hpa())))

    assert one.kind is InterventionKind.SUSPENDED
    assert one.until is None
    assert one.text == (
        "HorizontalPodAutoscaler llm/chat scales Deployment llm/chat, and two would undo each "
        "other's changes: delete one or the other, or set actuation: hpa"
    )


def test_a_scaled_object_stands_for_the_hpa_that_it_made() -> None:
    made = an_hpa("keda-hpa-chat")
    made["metadata"]["ownerReferences"] = [{"kind": "ScaledObject", "name": "chat"}]
    keda = {
        "metadata": {"name": "chat", "namespace": "llm"},
        "spec": {"scaleTargetRef": {"name": "chat"}},
    }

    (one,) = said(a_target(), scalers((HPA, made), (SCALED_OBJECT, keda)))

    assert one.text.startswith("ScaledObject llm/chat scales Deployment llm/chat,")


def test_several_are_named_together() -> None:
    (one,) = said(a_target(), scalers((HPA, an_hpa("a")), (HPA, an_hpa("b"))))

    assert "llm/a and HorizontalPodAutoscaler llm/b scale Deployment llm/chat" in one.text


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"name": "other"}, id="another name"),
        pytest.param({"kind": "StatefulSet"}, id="another kind"),
        pytest.param({"apiVersion": "example.com/v1"}, id="another group"),
    ],
)
def test_an_hpa_on_something_else_is_no_matter(other: dict[str, str]) -> None:
    assert said(a_target(), scalers((HPA, an_hpa(**other)))) == ()


@pytest.mark.parametrize("version", ["apps/v1beta2", ""])
def test_versions_of_one_group_are_the_same_object(version: str) -> None:
    assert said(a_target(), scalers((HPA, an_hpa(apiVersion=version))))


def test_an_hpa_without_a_target_is_no_matter() -> None:
    assert scaler_of(HPA, {"metadata": {"name": "x"}, "spec": {}}) is None


def test_where_we_only_watch_nobody_is_in_the_way() -> None:
    found = scalers((HPA, an_hpa()))
    assert interventions(a_target(wrote("kubectl")), CHAT, Actuation.NONE, found, NOON) == ()


def test_a_follower_is_expected_and_its_absence_told() -> None:
    (one,) = interventions(a_target(), CHAT, Actuation.HPA, NOBODY, NOON)

    assert one.kind is InterventionKind.EXPECTED_MISSING
    assert one.text == (
        "no HorizontalPodAutoscaler or ScaledObject scales Deployment llm/chat: actuation is hpa, "
        "and nobody follows our number"
    )
    assert interventions(a_target(), CHAT, Actuation.HPA, scalers((HPA, an_hpa())), NOON) == ()


@pytest.mark.parametrize(
    "blind", [{"unseen": {HPA: "no answer"}}, {"forbidden": frozenset({HPA})}], ids=str
)
def test_nobody_is_said_to_be_missing_who_could_not_be_seen(blind: dict[str, Any]) -> None:
    assert interventions(a_target(), CHAT, Actuation.HPA, scalers(**blind), NOON) == ()


def test_as_long_as_it_is_not_known_nothing_is_changed() -> None:
    (one,) = said(a_target(), scalers(unseen={HPA: "503, busy"}))

    assert one.kind is InterventionKind.SUSPENDED
    assert one.text == (
        "it is not known whether a HorizontalPodAutoscaler scales Deployment llm/chat: 503, busy"
    )


# --- autoscalers by their writes --------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "entries", "text"),
    [
        pytest.param(
            scalers(forbidden=frozenset({HPA})),
            [wrote("kube-controller-manager", None, sub="scale")],
            "for a HorizontalPodAutoscaler that we may not list: grant us the right to list them",
            id="that may not be listed",
        ),
        pytest.param(
            scalers(read_at=NOON - 30),
            [wrote("keda", None, sub="scale")],
            "for a ScaledObject that came after our last look: delete it",
            id="newer than the list",
        ),
        pytest.param(NOBODY, [wrote("kube-controller-manager", None, sub="scale")], "", id="gone"),
        pytest.param(
            scalers(forbidden=frozenset({SCALED_OBJECT})),
            [wrote("kube-controller-manager", None, sub="scale")],
            "",
            id="of a kind that was listed",
        ),
        pytest.param(
            scalers(read_at=NOON - 30),
            [wrote("kube-controller-manager", sub="status")],
            "",
            id="not through /scale",
        ),
        pytest.param(
            scalers(forbidden=frozenset({HPA})),
            [
                wrote("kube-controller-manager", None, sub="scale"),
                wrote("inference-autoscaler", None, sub="scale"),
            ],
            "",
            id="that we agree with",
        ),
    ],
)
def test_an_autoscaler_is_noticed_by_its_writes(
    found: Scalers, entries: list[dict[str, Any]], text: str
) -> None:
    got = said(a_target(*entries), found, unchanged_since=NOON)

    if not text:
        assert got == ()
        return
    assert got[0].kind is InterventionKind.SUSPENDED
    assert text in got[0].text


def test_a_listed_autoscaler_is_told_once() -> None:
    target = a_target(wrote("kube-controller-manager", None, sub="scale"))
    found = scalers((HPA, an_hpa()), read_at=NOON - 30)
    assert len(said(target, found, unchanged_since=NOON)) == 1


# --- GitOps ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "marks", "who", "way_out"),
    [
        pytest.param(
            wrote("argocd-controller"),
            {"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:llm/chat"}},
            "Argo CD (Application shop)",
            "ignoreDifferences",
            id="Argo CD",
        ),
        pytest.param(
            wrote("argocd-controller", apply=True),
            {"labels": {"argocd.argoproj.io/instance": "shop"}},
            "Argo CD (Application shop)",
            "kubectl scale",
            id="Argo CD by label",
        ),
        pytest.param(
            wrote("kubectl-client-side-apply"),
            {"labels": {"argocd.argoproj.io/instance": "shop"}},
            "Argo CD (Application shop)",
            "take replicas out of the manifest",
            id="an old Argo CD, by kubectl",
        ),
        pytest.param(
            wrote("kustomize-controller", apply=True),
            {
                "labels": {
                    "kustomize.toolkit.fluxcd.io/name": "apps",
                    "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
                }
            },
            "Flux (Kustomization flux-system/apps)",
            "take replicas out of the manifest",
            id="Flux",
        ),
        pytest.param(
            wrote("helm-controller"),
            {"labels": {"helm.toolkit.fluxcd.io/name": "chat"}},
            "Flux (HelmRelease ?/chat)",
            "take replicas out",
            id="Flux by Helm",
        ),
        pytest.param(
            wrote("kustomize-controller", created := NOON - HOUR, apply=True),
            {"created": created},
            "Flux sets",
            "take replicas out",
            id="Flux, since the creation",
        ),
    ],
)
def test_gitops_that_owns_the_number_suspends(
    entry: dict[str, Any], marks: dict[str, Any], who: str, way_out: str
) -> None:
    (one,) = said(a_target(entry, **marks))

    assert one.kind is InterventionKind.SUSPENDED
    assert one.text.startswith(who)
    assert way_out in one.text


def test_a_tool_that_the_settings_name_is_gitops_too() -> None:
    (one,) = said(a_target(wrote("acme-sync")), respect=Respect(gitops=frozenset({"acme-sync"})))

    assert one.text == (
        "acme-sync sets spec.replicas of Deployment llm/chat at 2023-11-14T22:13:20Z and would "
        "undo our changes: take replicas out of what it applies"
    )


@pytest.mark.parametrize(
    "marks",
    [
        {"annotations": {"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"}},
        {"labels": {"kustomize.toolkit.fluxcd.io/ssa": "Ignore"}},
        {"annotations": {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}},
        {"annotations": {"helm.toolkit.fluxcd.io/driftDetection": "disabled"}},
    ],
    ids=str,
)
def test_flux_that_is_told_to_leave_it_alone_does_not_fight(marks: dict[str, Any]) -> None:
    assert said(a_target(wrote("kustomize-controller", apply=True), **marks)) == ()


def test_gitops_that_does_not_own_the_number_is_no_matter() -> None:
    image = wrote("argocd-controller", fields={"f:spec": {"f:template": {"f:spec": {}}}})
    assert said(a_target(image, wrote("inference-autoscaler", sub="scale"))) == ()


def test_gitops_that_agrees_with_us_still_declares_the_number() -> None:
    ours = wrote("inference-autoscaler", NOON + 10, sub="scale")
    (one,) = said(a_target(ours, wrote("kustomize-controller", apply=True)))
    assert one.kind is InterventionKind.SUSPENDED


def test_marks_of_gitops_alone_say_nothing_of_the_number() -> None:
    target = a_target(labels={"argocd.argoproj.io/instance": "shop"})
    assert str(tracked(target)) == "Argo CD (Application shop)"
    assert said(target) == ()


# --- people ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "manager", ["kubectl-edit", "kubectl-client-side-apply", "kubectl", "k9s", "Mozilla", "helm"]
)
def test_a_number_set_by_hand_is_left_alone_for_half_an_hour(manager: str) -> None:
    (one,) = said(a_target(wrote(manager)))

    assert one.kind is InterventionKind.EDITED
    assert one.until == NOON + 1800.0
    assert one.text == (
        f"{manager} set spec.replicas of Deployment llm/chat at 2023-11-14T22:13:20Z: "
        "left alone until 2023-11-14T22:43:20Z"
    )


def test_kubectl_scale_leaves_no_time_and_counts_since_it_was_seen() -> None:
    target = a_target(wrote("kubectl", None, sub="scale"))

    (one,) = said(target, unchanged_since=NOON + 10)

    assert one.kind is InterventionKind.EDITED
    assert one.until == NOON + 1810.0
    assert "kubectl set spec.replicas of Deployment llm/chat (seen at 2023-11-14T22:13:30Z)" in (
        one.text
    )
    assert said(target) == ()  # nobody knows when


def test_after_that_it_is_ours_again() -> None:
    target = a_target(wrote("kubectl-edit"))
    assert said(target, now=NOON + 1799.0)
    assert said(target, now=NOON + 1800.0) == ()


def test_how_long_is_a_setting() -> None:
    (one,) = said(a_target(wrote("kubectl-edit")), respect=Respect(edit_seconds=90.0))
    assert one.until == NOON + 90.0


def test_a_manager_without_a_name_is_somebody() -> None:
    (one,) = said(a_target(wrote("")))
    assert one.text.startswith("somebody set spec.replicas")


@pytest.mark.parametrize(
    ("target", "why"),
    [
        pytest.param(a_target(wrote("inference-autoscaler")), "ourselves", id="ourselves"),
        pytest.param(
            a_target(wrote("kubectl-client-side-apply", NOON), created=NOON),
            "created with it",
            id="who created it",
        ),
        pytest.param(
            a_target(wrote("kubectl-client-side-apply", NOON + 1), created=NOON),
            "a second later",
            id="who created it, a second later",
        ),
        pytest.param(
            a_target(wrote("kubectl", NOON - 60), wrote("inference-autoscaler", NOON)),
            "we wrote since",
            id="before our own write",
        ),
        pytest.param(
            a_target(wrote("kubectl", NOON, apply=True), wrote("inference-autoscaler", None)),
            "we agree",
            id="who agrees with what we set",
        ),
        pytest.param(a_target(), "nobody", id="nobody"),
        pytest.param({"metadata": {"managedFields": "odd"}}, "odd", id="odd"),
        pytest.param({}, "nothing", id="nothing"),
    ],
)
def test_this_is_no_edit(target: dict[str, Any], why: str) -> None:
    assert said(target) == (), why


def test_an_apply_that_changes_the_number_is_an_edit_though_the_manager_created_it() -> None:
    (one,) = said(a_target(wrote("kubectl-client-side-apply", NOON), created=NOON - HOUR))
    assert one.kind is InterventionKind.EDITED


def test_somebody_who_agrees_with_us_later_has_edited() -> None:
    ours = wrote("inference-autoscaler", NOON - 60)
    (one,) = said(a_target(wrote("kubectl", NOON, apply=True), ours))
    assert one.kind is InterventionKind.EDITED


def test_without_a_creation_time_every_write_counts() -> None:
    target = a_target(wrote("kubectl-edit"))
    del target["metadata"]["creationTimestamp"]
    assert said(target)


def test_a_later_write_of_something_else_does_not_prolong_an_edit() -> None:
    target = a_target(wrote("kubectl-edit", NOON + 1200))

    (one,) = said(target, now=NOON + 1300, unchanged_since=NOON)

    assert one.until == NOON + 1800.0
    assert said(target, now=NOON + 1800, unchanged_since=NOON) == ()


def test_an_inference_service_keeps_its_number_elsewhere() -> None:
    service = Reference("serving.kserve.io/v1beta1", "InferenceService", "llm", "chat")
    fields: dict[str, Any] = {"f:spec": {"f:predictor": {"f:minReplicas": {}}}}
    target = a_target(wrote("kubectl-edit", fields=fields))

    (one,) = interventions(target, service, Actuation.SCALE, NOBODY, NOON)

    assert "set spec.predictor.minReplicas of InferenceService llm/chat" in one.text


# --- managedFields and times -----------------------------------------------------------------


def test_owners_come_newest_first_and_those_without_a_time_last() -> None:
    found = owners(
        a_target(wrote("b", NOON), wrote("z", None), wrote("a", NOON), wrote("c", NOON + 1)),
        ("spec", "replicas"),
    )
    assert [one.manager for one in found] == ["c", "a", "b", "z"]


def test_who_owns_a_field_as_a_whole_owns_what_is_in_it() -> None:
    target = a_target(wrote("a", fields={"f:spec": {}}), wrote("b", fields={"f:spec": {".": {}}}))
    assert [one.manager for one in owners(target, ("spec", "replicas"))] == ["a"]


def test_who_only_made_the_map_does_not_own_what_others_own_in_it() -> None:
    target = a_target(wrote("maker", fields={"f:spec": {}}), wrote("b"))
    assert [one.manager for one in owners(target, ("spec", "replicas"))] == ["b"]


@given(st.floats(0, 4e9))
def test_times_survive_being_written(seconds: float) -> None:
    text = micro_time(seconds)
    assert len(text.partition(".")[2]) == len("123456Z")
    assert read_time(text) == pytest.approx(seconds, abs=2e-6)


@pytest.mark.parametrize("odd", [None, 7, "", "soon", "9999-01-01T00:00:00Z", "1969-12-31"])
def test_what_is_no_time_is_none(odd: object) -> None:
    assert read_time(odd) is None


# --- as a real API server keeps managedFields -------------------------------------------------


def test_the_life_of_a_number(api: FakeApiServer, connection: Connection) -> None:
    """Created by kubectl, scaled by us, edited, scaled by us again, then taken by GitOps."""
    path = "/apis/apps/v1/namespaces/llm/deployments/chat"
    labels = {"app": "chat"}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "chat", "namespace": "llm"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "engine", "image": "engine:1"}]},
            },
        },
    }

    def scale(replicas: int, manager: str, at: float) -> tuple[Intervention, ...]:
        api.now = at
        wish = {"spec": {"replicas": replicas}}
        api.merge(f"{path}/scale", wish, fieldManager=manager)
        return said(api.peek(path), now=at + 1, unchanged_since=at)

    api.now = NOON
    api.request("POST", "/api/v1/namespaces", {"metadata": {"name": "llm"}})
    api.create(path.rpartition("/")[0], body, fieldManager="kubectl-client-side-apply")
    assert said(api.peek(path)) == ()
    assert scale(3, "inference-autoscaler", NOON + 100) == ()
    (edited,) = scale(5, "kubectl", NOON + 200)
    assert edited.kind is InterventionKind.EDITED
    assert edited.until == NOON + 2000
    assert scale(4, "inference-autoscaler", NOON + 2100) == ()
    api.now = NOON + 2200
    config = {**body, "spec": {**body["spec"], "replicas": 2}}  # type: ignore[dict-item]
    api.apply(path, config, manager="kustomize-controller", force="true")
    (taken,) = said(api.peek(path), now=NOON + 2201)
    assert taken.kind is InterventionKind.SUSPENDED
    assert taken.text.startswith(
        "Flux sets spec.replicas of Deployment llm/chat at 2023-11-14T22:50"
    )
