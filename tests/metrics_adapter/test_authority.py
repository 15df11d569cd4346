"""Our own certificates over the years."""

import ssl
import subprocess
from pathlib import Path

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.core.errors import ObservationError
from metrics_adapter.authority import DAY, SETTLE_SECONDS, Held, read_held, renewed, verifies
from metrics_adapter.tls import Tls
from tests.builders import NOON

NAMES = ("metrics.autoscaler.svc", "metrics.autoscaler.svc.cluster.local")


def test_the_first_certificate_can_be_served_and_is_trusted() -> None:
    held = renewed(None, NAMES, NOON)

    assert verifies(held.certificate, held.bundle)
    assert Tls(held.certificate, held.key).current.verify_mode is ssl.CERT_OPTIONAL
    assert read_held(held.data()) == held


def test_openssl_trusts_it_for_its_name_and_no_other(tmp_path: Path) -> None:
    held = renewed(None, NAMES, NOON)
    authority, certificate = tmp_path / "ca.crt", tmp_path / "tls.crt"
    authority.write_bytes(held.trusted)
    certificate.write_bytes(held.certificate)

    def verified(name: str) -> bool:
        command = [
            "openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-attime", f"{NOON:.0f}",
            "-verify_hostname", name, "-CAfile", str(authority), str(certificate),
        ]  # fmt: skip
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    assert all(map(verified, NAMES))
    assert not verified("other.autoscaler.svc")


def test_nothing_changes_while_nothing_is_old() -> None:
    held = renewed(None, NAMES, NOON)

    assert renewed(held, NAMES, NOON + 19 * DAY) is held


def test_what_is_served_is_renewed_after_two_thirds_of_its_time() -> None:
    held = renewed(None, NAMES, NOON)

    later = renewed(held, NAMES, NOON + 21 * DAY)

    assert later.certificate != held.certificate
    assert later.bundle == held.bundle


def test_a_new_authority_is_told_of_before_it_signs() -> None:
    held = renewed(None, NAMES, NOON)
    then = NOON + 244 * DAY

    told = renewed(held, NAMES, then)
    settled = renewed(told, NAMES, then + SETTLE_SECONDS + 1)

    assert told.bundle[1:] == held.bundle
    assert not verifies(held.certificate, told.bundle[:1])
    assert verifies(settled.certificate, told.bundle[:1])
    assert settled.bundle == told.bundle


def test_an_authority_that_has_ended_is_forgotten() -> None:
    held = renewed(None, NAMES, NOON)
    told = renewed(held, NAMES, NOON + 244 * DAY)
    settled = renewed(told, NAMES, NOON + 245 * DAY)

    later = renewed(settled, NAMES, NOON + 366 * DAY)

    assert later.bundle == told.bundle[:1]


def test_other_names_need_another_certificate() -> None:
    held = renewed(None, NAMES, NOON)

    other = renewed(held, ("elsewhere.autoscaler.svc",), NOON)

    assert other.bundle == held.bundle
    assert other.certificate != held.certificate


def test_after_years_away_everything_is_new() -> None:
    held = renewed(None, NAMES, NOON)

    later = renewed(held, NAMES, NOON + 2000 * DAY)

    assert later.bundle != held.bundle
    assert verifies(later.certificate, later.bundle)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0.0, 40.0), min_size=1, max_size=25))
def test_at_every_moment_what_is_served_is_trusted_by_who_was_told_before(
    pauses: list[float],
) -> None:
    now, held = NOON, renewed(None, NAMES, NOON)
    for days in pauses:
        now += days * DAY
        later = renewed(held, NAMES, now)
        assert verifies(later.certificate, later.bundle)
        # Whoever has the bundle of before trusts what is served now, unless all of it has ended.
        assert verifies(later.certificate, held.bundle)
        assert len(later.bundle) <= 4
        held = later


def test_a_secret_that_is_no_use_says_why() -> None:
    held = renewed(None, NAMES, NOON)
    other = renewed(None, NAMES, NOON)
    data = held.data()

    for change, message in (
        ({"ca.key": b""}, "the Secret has no ca.key"),
        ({"ca.crt": b"rubbish"}, "the Secret cannot be read: "),
        ({"ca.key": other.authority_key}, "the Secret's ca.key is not that of its first"),
        ({"tls.key": other.key}, "the Secret's tls.key is not that of its certificate"),
    ):
        with pytest.raises(ObservationError) as refused:
            read_held({**data, **change})
        assert str(refused.value).startswith(message)


def test_somebody_else_s_authority_does_not_sign_for_us() -> None:
    """A Secret that holds another kind of key is of no use, and says so."""
    authority = trustme.CA(key_type=trustme.KeyType.RSA)
    served = authority.issue_cert(*NAMES)
    held = Held(
        (authority.cert_pem.bytes(),),
        authority.private_key_pem.bytes(),
        served.cert_chain_pems[0].bytes(),
        served.private_key_pem.bytes(),
    )

    with pytest.raises(ObservationError, match="key is not one of ours"):
        renewed(held, ("another.name",), NOON)


def test_a_certificate_without_names_is_replaced() -> None:
    held = renewed(None, NAMES, NOON)
    bare = Held(held.bundle, held.authority_key, held.bundle[0], held.authority_key)

    assert renewed(bare, NAMES, NOON).certificate != held.bundle[0]
