"""The shipped and the generated rights, held against the whole controller on both servers."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from autoscaler.adapters.kubernetes.rbac import (
    Own,
    Right,
    base_rights,
    fleet_rights,
    shadowed,
)
from autoscaler.adapters.kubernetes.requests import asked
from autoscaler.adapters.kubernetes.rights_used import rules_used
from autoscaler.adapters.kubernetes.role_files import account_file, role_file
from autoscaler.cli import main
from autoscaler.core.errors import AutoscalerError
from tests.adapters.kubernetes.real.installing import (
    ACCOUNT,
    OURS,
    READ,
    WRITE,
    apply,
    asked_by_us,
    documents_of,
    installed,
    put_free_lease,
    shipped,
    the_account,
)
from tests.adapters.kubernetes.real.place import Place
from tests.adapters.kubernetes.real.whole import LARGE, SMALL, Whole
from tests.builders import a_fleet
from tests.fakes.kubernetes.faults import Request

NEW_LEASE = 5.0  # seconds; who makes a lease waits for its length before leading


def refusals(log: list[Request]) -> list[str]:
    return [f"{one.method} {one.path}" for one in log if one.status == 403]


UP, AGAIN = dict.fromkeys(SMALL, 5), dict.fromkeys(SMALL, 5)
DOWN = {"chat": 3, "batch": 1}  # the budget lets two pods of chat go


@pytest.mark.slow
def test_the_shipped_rights_are_what_a_controller_needs(place: Place, tmp_path: Path) -> None:
    server = place.server
    before = len(asked_by_us(server, OURS))
    with installed(server, *shipped(ACCOUNT, READ, WRITE)):
        whole = Whole(place, tmp_path, SMALL, own=OURS)
        account = the_account(server, OURS, tmp_path)
        with whole.running(account, lease_seconds=NEW_LEASE) as service:
            counts = whole.day(service)
        whole.keep_a_large_state(account)
    log = asked_by_us(server, OURS)[before:]

    assert counts == [UP, DOWN, AGAIN]
    assert len(whole.marked) == 2
    assert whole.costs() == []
    assert refusals(log) == []
    use = rules_used(log, base_rights())
    assert (use.beyond, use.unused) == ((), ())


@pytest.mark.slow
def test_shadow_mode_reads_with_half_of_them_and_writes_nothing(
    place: Place, tmp_path: Path
) -> None:
    server = place.server
    before = len(asked_by_us(server, OURS))
    with installed(server, *shipped(ACCOUNT, READ)):
        whole = Whole(place, tmp_path, SMALL, own=OURS)
        with whole.running(the_account(server, OURS, tmp_path), shadow=True) as service:
            counts = whole.day(service)
            wanted = service.controller.latest
    log = asked_by_us(server, OURS)[before:]

    assert wanted is not None
    assert {one.replicas for one in wanted.plan.decisions.values()} == {5}
    assert counts == [dict.fromkeys(SMALL, 3)] * 3
    assert refusals(log) == []
    assert {one.method for one in log} == {"GET", "WATCH"}
    use = rules_used(log, shadowed(base_rights()))
    assert (use.beyond, use.unused) == ((), ())


@pytest.mark.slow
def test_the_rights_of_policy_files_are_what_they_need(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server, own = place.server, place.namespace
    whole = Whole(place, tmp_path, LARGE, own=own, pool=True)
    assert main(["rbac", str(whole.policies), "--namespace", own]) == 0
    apply(server, documents_of(capsys.readouterr().out))

    account = the_account(server, own, tmp_path)
    with whole.running(account, lease_seconds=NEW_LEASE) as service:
        counts = whole.day(service)
    whole.keep_a_large_state(account)
    log = asked_by_us(server, own)

    assert counts[0] == dict.fromkeys(LARGE, 5)
    assert counts[1] == {**dict.fromkeys(LARGE, 1), "chat": 3}
    assert whole.nodes() == 10
    assert refusals(log) == []
    use = rules_used(log, fleet_rights(whole.fleet, Own(own)))
    assert (use.beyond, use.unused) == ((), ())


@pytest.mark.slow
def test_what_an_add_on_adds_is_what_was_missing(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = place.server
    before = len(asked_by_us(server, OURS))
    whole = Whole(place, tmp_path, LARGE, own=OURS, pool=True)
    assert main(["rbac", "--add-on", str(whole.policies)]) == 0
    more = capsys.readouterr().out

    with installed(server, *shipped(ACCOUNT, READ, WRITE), more):
        put_free_lease(server, OURS)
        account = the_account(server, OURS, tmp_path)
        with whole.running(account) as service:
            counts = whole.day(service)

    assert counts[0] == dict.fromkeys(LARGE, 5)
    assert refusals(asked_by_us(server, OURS)[before:]) == []


def one_less(place: Place, folder: Path, number: int) -> tuple[Right, list[Request]]:
    """Run with one right less; return it, and what was refused."""
    own = place.namespace
    whole = Whole(place, folder, SMALL, own=own)
    rights = fleet_rights(whole.fleet, Own(own))[own]
    left_out = rights[number]
    if "leases" not in left_out.resource:
        put_free_lease(place.server, own)
    less = {own: tuple(right for right in rights if right != left_out)}
    halves = [role_file(less, own, writes=writes) for writes in (False, True)]
    apply(place.server, documents_of(account_file(own), *halves))
    account = the_account(place.server, own, folder)
    with whole.running(account) as service:
        whole.day(service)
    with suppress(AutoscalerError):
        whole.keep_a_large_state(account)
    return left_out, [one for one in asked_by_us(place.server, own) if one.status == 403]


@pytest.mark.slow
def test_with_one_right_less_that_and_nothing_else_is_refused(
    place: Place, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    """And the controller goes on: no cycle fails for it."""
    workloads = [place.about(kind, name=name) for name, kind in SMALL.items()]
    (rights,) = fleet_rights(a_fleet(*workloads), Own(place.namespace)).values()

    def without(number: int) -> tuple[Right, list[Request]]:
        there = replace(place, namespace=f"{place.namespace}-{number}")
        place.server.create("/api/v1/namespaces", {"metadata": {"name": there.namespace}})
        folder = tmp_path / str(number)
        folder.mkdir()
        return one_less(there, folder, number)

    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(without, range(len(rights))))

    for left_out, refused in found:
        with subtests.test(f"{left_out.resource} {' '.join(left_out.verbs)}"):
            assert refused
            for one in refused:
                method = "GET" if one.method == "WATCH" else one.method
                assert left_out.allows(asked(method, one.path, tuple(one.query.items())))
