"""Who may do what: tokens of service accounts, and the RBAC objects that the store holds."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.fakes.kubernetes.status import forbidden
from tests.fakes.kubernetes.store import Store

RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True)
class User:
    """Who asks."""

    name: str
    groups: frozenset[str] = frozenset()


ADMIN = User("admin", frozenset({"system:masters", "system:authenticated"}))
ANONYMOUS = User("system:anonymous", frozenset({"system:unauthenticated"}))


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is asked for."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def full(self) -> str:
        """Return `resource/subresource`."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


class Access:
    """Tells users by their tokens, and what they may do by the RBAC objects."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._users: dict[str, User] = {}

    def token(self, namespace: str, account: str) -> str:
        """Return a new token of a service account."""
        text = secrets.token_urlsafe(24)
        groups = {
            "system:authenticated",
            "system:serviceaccounts",
            f"system:serviceaccounts:{namespace}",
        }
        self._users[text] = User(f"system:serviceaccount:{namespace}:{account}", frozenset(groups))
        return text

    def user(self, token: str) -> User | None:
        """Return whose token this is."""
        return self._users.get(token)

    def allows(self, user: User, asked: Attributes) -> bool:
        """Tell whether a rule grants what is asked."""
        return "system:masters" in user.groups or any(
            _grants(rule, asked) for rule in self._rules(user, asked.namespace)
        )

    def check(self, user: User, asked: Attributes) -> None:
        """Refuse what no rule grants.

        Raises:
            ApiError: 403.
        """
        if self.allows(user, asked):
            return
        where = (
            f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
        )
        why = (
            f'User "{user.name}" cannot {asked.verb} resource "{asked.full}" '
            f'in API group "{asked.group}" {where}'
        )
        raise forbidden(asked.group, asked.resource, asked.name, why)

    def _rules(self, user: User, namespace: str) -> Iterable[Mapping[str, Any]]:
        for _, stored in self._store.all((RBAC, "clusterrolebindings")):
            if _binds(stored.obj, user, ""):
                yield from self._of(stored.obj["roleRef"], "")
        for _, stored in self._store.all((RBAC, "rolebindings"), namespace) if namespace else ():
            if _binds(stored.obj, user, namespace):
                yield from self._of(stored.obj["roleRef"], namespace)

    def _of(self, ref: Mapping[str, str], namespace: str) -> Iterable[Mapping[str, Any]]:
        cluster = ref["kind"] == "ClusterRole"
        key = ("" if cluster else namespace, ref["name"])
        role = self._store.get((RBAC, "clusterroles" if cluster else "roles"), key)
        return (role.obj.get("rules") or ()) if role else ()


def _binds(binding: Mapping[str, Any], user: User, namespace: str) -> bool:
    for subject in binding.get("subjects") or ():
        match subject["kind"]:
            case "ServiceAccount":
                within = subject.get("namespace") or namespace
                if user.name == f"system:serviceaccount:{within}:{subject['name']}":
                    return True
            case "User":
                if user.name == subject["name"]:
                    return True
            case _:
                if subject["name"] in user.groups:
                    return True
    return False


def _grants(rule: Mapping[str, Any], asked: Attributes) -> bool:
    resources = rule.get("resources") or ()
    named = rule.get("resourceNames") or ()
    return (
        _holds(rule.get("verbs"), asked.verb)
        and _holds(rule.get("apiGroups"), asked.group)
        and (
            "*" in resources
            or asked.full in resources
            or (bool(asked.subresource) and f"*/{asked.subresource}" in resources)
        )
        and (not named or asked.name in named)
    )


def _holds(values: Iterable[str] | None, value: str) -> bool:
    return bool({"*", value} & set(values or ()))
