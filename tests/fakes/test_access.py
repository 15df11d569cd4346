"""Who may do what: service accounts and RBAC; the same on our server and on a real one."""

import uuid

import pytest
from kubernetes import client

from tests.fakes.kubernetes import ApiServer, FakeApiServer, objects
from tests.fakes.kubernetes.client import MERGE

SCALES = {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["get", "patch"]}


def scale_of(place: str, name: str = "chat") -> str:
    return f"/apis/apps/v1/namespaces/{place}/deployments/{name}/scale"


def test_a_role_allows_what_it_says_and_nothing_else(server: ApiServer, place: str) -> None:
    server.add(objects.deployment("chat", namespace=place))
    bot = server.account(place, "bot", objects.role("scaler", SCALES, namespace=place))
    wish = {"spec": {"replicas": 2}}

    patched = bot.request("PATCH", scale_of(place), wish, content_type=MERGE)
    put = bot.request("PUT", scale_of(place), wish)
    read = bot.request("GET", scale_of(place).removesuffix("/scale"))
    elsewhere = bot.request("GET", scale_of("default"))

    assert patched.status == 200
    assert [put.status, read.status, elsewhere.status] == [403, 403, 403]
    who = f"system:serviceaccount:{place}:bot"
    assert put.json["message"] == (
        f'deployments.apps "chat" is forbidden: User "{who}" cannot update resource '
        f'"deployments/scale" in API group "apps" in the namespace "{place}"'
    )
    assert put.json["details"] == {"name": "chat", "group": "apps", "kind": "deployments"}
    assert put.json["reason"] == "Forbidden"


def test_a_list_of_all_namespaces_needs_a_cluster_role(server: ApiServer, place: str) -> None:
    reads = {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list", "watch"]}
    narrow = server.account(place, "narrow", objects.role("reader", reads, namespace=place))
    role = objects.role(f"reader-{uuid.uuid4().hex[:6]}", reads)
    wide = server.account(place, "wide", role)

    refused = narrow.request("GET", "/apis/apps/v1/deployments")

    assert refused.status == 403
    assert refused.json["message"] == (
        f'deployments.apps is forbidden: User "system:serviceaccount:{place}:narrow" cannot list '
        'resource "deployments" in API group "apps" at the cluster scope'
    )
    assert wide.request("GET", "/apis/apps/v1/deployments").status == 200
    assert wide.request("GET", f"/apis/apps/v1/namespaces/{place}/deployments").status == 200


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        pytest.param({**SCALES, "resourceNames": ["chat"]}, 200, id="by name"),
        pytest.param({**SCALES, "resourceNames": ["other"]}, 403, id="another name"),
        pytest.param({**SCALES, "resources": ["*/scale"]}, 200, id="every scale"),
        pytest.param({**SCALES, "resources": ["deployments"]}, 403, id="not the scale"),
        pytest.param({**SCALES, "apiGroups": [""]}, 403, id="another group"),
        pytest.param({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, 200, id="all"),
    ],
)
def test_rules_are_read_as_rbac_reads_them(
    server: ApiServer, place: str, rule: dict[str, list[str]], status: int
) -> None:
    server.add(objects.deployment("chat", namespace=place))
    bot = server.account(place, "bot", objects.role("scaler", rule, namespace=place))

    assert bot.request("GET", scale_of(place)).status == status


def test_an_apply_that_creates_needs_create_too(server: ApiServer, place: str) -> None:
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"]}
    bot = server.account(place, "bot", objects.role("writer", rule, namespace=place))
    path = f"/api/v1/namespaces/{place}/configmaps/state"
    obj = objects.config_map("state", namespace=place)

    new = bot.request(
        "PATCH", path, obj, content_type="application/apply-patch+yaml", fieldManager="bot"
    )
    server.add(obj)
    there = bot.request(
        "PATCH",
        path,
        obj,
        content_type="application/apply-patch+yaml",
        fieldManager="bot",
        force="true",
    )

    assert (new.status, there.status) == (403, 200)
    assert "cannot create resource" in new.json["message"]


def test_an_unknown_token_is_nobody(server: ApiServer, place: str) -> None:
    answer = server.request(
        "GET", scale_of(place), headers={"Authorization": "Bearer no-such-token"}
    )
    stranger = ApiServer(
        server.address, server.kubeconfig_path, token="no-such-token", ca_path=server.ca_path
    )
    said = stranger.request("GET", scale_of(place))
    stranger.close()

    assert said.status == 401
    assert (said.json["reason"], said.json["message"]) == ("Unauthorized", "Unauthorized")
    assert answer.status in {401, 404}  # an administrator's token, where there is one, goes first


def test_an_account_may_ask_what_it_may_do(server: ApiServer, place: str) -> None:
    bot = server.account(place, "bot", objects.role("scaler", SCALES, namespace=place))

    def may(verb: str, subresource: str) -> bool:
        attributes = {
            "verb": verb,
            "group": "apps",
            "resource": "deployments",
            "subresource": subresource,
            "namespace": place,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        allowed: bool = bot.create(path, review)["status"]["allowed"]
        return allowed

    assert may("patch", "scale")
    assert not may("patch", "")
    assert not may("delete", "scale")


def test_the_real_client_uses_the_accounts_token(server: ApiServer, place: str) -> None:
    server.add(objects.deployment("chat", replicas=4, namespace=place))
    bot = server.account(place, "bot", objects.role("scaler", SCALES, namespace=place))

    found = client.AppsV1Api(bot.client()).read_namespaced_deployment_scale(
        "chat", place, _request_timeout=(3, 5)
    )

    assert found.spec is not None
    assert found.spec.replicas == 4


def test_groups_users_and_bindings_of_ones_own(fake: FakeApiServer) -> None:
    rbac = "rbac.authorization.k8s.io"
    role = objects.role("scaler", SCALES)
    binding = {
        "apiVersion": f"{rbac}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "all-accounts"},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "scaler"},
        "subjects": [
            {"kind": "User", "name": "somebody"},
            {"kind": "Group", "name": "system:serviceaccounts:team"},
        ],
    }
    fake.add(objects.deployment("chat"))

    inside = fake.account("team", "bot", role, binding)
    outside = fake.account("guests", "bot")

    assert inside.request("GET", scale_of("default")).status == 200
    assert outside.request("GET", scale_of("default")).status == 403


def test_without_a_token_nobody_is_anyone_where_that_is_wanted(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with FakeApiServer(tmp_path_factory.mktemp("api"), anonymous_is_admin=False) as strict:
        assert strict.request("GET", "/api/v1/namespaces").status == 401
