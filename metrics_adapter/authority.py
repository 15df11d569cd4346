"""Our own certificates: an authority that signs us, and when each of the two is renewed.

Pure: what is held now and the time go in, what should be held comes out. At every moment the
certificate that is served was signed by an authority that everybody has been told of for a while.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from autoscaler.core.errors import ObservationError

DAY: Final = 86_400.0
AUTHORITY_SECONDS: Final = 365 * DAY
SERVING_SECONDS: Final = 30 * DAY
SETTLE_SECONDS: Final = 600.0
"""How long everybody is told of a new authority before anything that it signed is served."""
_SKEW_SECONDS: Final = 300.0
_MOST: Final = 4

_KEYS: Final = ("ca.crt", "ca.key", "tls.crt", "tls.key")
"""As in a Secret of kind kubernetes.io/tls, and the key of the newest authority."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the Secret holds, PEM.

    Attributes:
        bundle: Authorities that are to be trusted, newest first.
        authority_key: Key of the newest authority.
        certificate: What is served.
        key: Its key.
    """

    bundle: tuple[bytes, ...]
    authority_key: bytes
    certificate: bytes
    key: bytes

    @property
    def trusted(self) -> bytes:
        """Every authority that is to be trusted, one after the other."""
        return b"".join(self.bundle)

    def data(self) -> dict[str, bytes]:
        """Return the data of the Secret."""
        return dict(
            zip(_KEYS, (self.trusted, self.authority_key, self.certificate, self.key), strict=True)
        )


def read_held(data: Mapping[str, bytes]) -> Held:
    """Read the data of the Secret.

    Raises:
        ObservationError: Something is not there, or cannot be read.
    """
    missing = [name for name in _KEYS if not data.get(name)]
    if missing:
        raise ObservationError(f"the Secret has no {', '.join(missing)}")
    try:
        bundle = tuple(_pem(one) for one in x509.load_pem_x509_certificates(data["ca.crt"]))
        held = Held(bundle, data["ca.key"], data["tls.crt"], data["tls.key"])
        authority, served = _load(held.bundle[0]), _load(held.certificate)
        if _public(authority) != _public_of(held.authority_key):
            raise ObservationError("the Secret's ca.key is not that of its first authority")
        if _public(served) != _public_of(held.key):
            raise ObservationError("the Secret's tls.key is not that of its certificate")
    except (ValueError, TypeError) as error:
        raise ObservationError(f"the Secret cannot be read: {error}") from error
    return held


def renewed(held: Held | None, names: Sequence[str], now: float) -> Held:
    """Return what should be held at `now`: the same object where nothing is to be done.

    An authority is renewed after two thirds of its time, and so is what is served. A new authority
    is first only told of; a while later it signs.

    Args:
        held: What is held; None for nothing that can be used.
        names: What the certificate is for, such as metrics.autoscaler.svc; the first is its name.
        now: Unix seconds.
    """
    if held is None or _ended(_load(held.bundle[0]), now):
        authority, key = _new_authority(now)
        return Held((authority,), key, *_signed(authority, key, names, now))
    newest, served = _load(held.bundle[0]), _load(held.certificate)
    settled = now - _SKEW_SECONDS - newest.not_valid_before_utc.timestamp() >= SETTLE_SECONDS
    unfit = _ended(served, now) or not _is_for(served, names) or not _trusted(served, held.bundle)
    if unfit or (settled and (not _signed_by(served, newest) or _old(served, now))):
        pair = _signed(held.bundle[0], held.authority_key, names, now)
        held = Held(held.bundle, held.authority_key, *pair)
    # After what is served: it lasts, signed by the old authority, until the new one has settled.
    if _old(newest, now):
        authority, key = _new_authority(now)
        held = Held((authority, *held.bundle), key, held.certificate, held.key)
    kept = tuple(
        one
        for place, one in enumerate(held.bundle[:_MOST])
        if place == 0 or not _ended(_load(one), now)
    )
    return (
        held if kept == held.bundle else Held(kept, held.authority_key, held.certificate, held.key)
    )


def verifies(certificate: bytes, bundle: Sequence[bytes]) -> bool:
    """Whether one of the authorities has signed a certificate."""
    return _trusted(_load(certificate), bundle)


def _new_authority(now: float) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    # A name of its own, so that nobody takes the old authority for the new one.
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"inference-autoscaler-metrics {now:.0f}")]
    )
    certificate = (
        _builder(name, name, key.public_key(), now, AUTHORITY_SECONDS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pem(certificate), _key_pem(key)


def _signed(
    authority: bytes, authority_key: bytes, names: Sequence[str], now: float
) -> tuple[bytes, bytes]:
    signer = serialization.load_pem_private_key(authority_key, None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise ObservationError("the authority's key is not one of ours")
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = _load(authority)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    lasts = min(SERVING_SECONDS, issuer.not_valid_after_utc.timestamp() - now)
    certificate = (
        _builder(subject, issuer.subject, key.public_key(), now, lasts)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    return _pem(certificate), _key_pem(key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: float,
    seconds: float,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_time(now - _SKEW_SECONDS))
        .not_valid_after(_time(now + seconds))
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _old(certificate: x509.Certificate, now: float) -> bool:
    """Whether two thirds of its time are over."""
    begins = certificate.not_valid_before_utc.timestamp()
    ends = certificate.not_valid_after_utc.timestamp()
    return now >= begins + (ends - begins) * 2 / 3


def _ended(certificate: x509.Certificate, now: float) -> bool:
    return now >= certificate.not_valid_after_utc.timestamp() - _SKEW_SECONDS


def _is_for(certificate: x509.Certificate, names: Sequence[str]) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return set(names) <= set(found.get_values_for_type(x509.DNSName))


def _trusted(certificate: x509.Certificate, bundle: Sequence[bytes]) -> bool:
    return any(_signed_by(certificate, _load(one)) for one in bundle)


def _signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _load(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _public(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _public_of(key: bytes) -> bytes:
    return (
        serialization.load_pem_private_key(key, None)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def _time(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(int(seconds), dt.UTC)
