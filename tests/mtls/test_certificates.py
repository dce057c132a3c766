"""Certificates as bytes: what is read of them, and which are held to be made by an authority."""

import contextlib
import time
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from limen.core.errors import ConfigurationError
from limen.crypto.certificates import (
    MAX_DER,
    CertificateError,
    TrustAnchors,
    certificate_name,
    der_of_base64,
    der_of_pem,
    read_der,
)
from limen.crypto.encoding import b64url_encode
from tests.mtls.authority import CLIENT, DAY, SERVER, Authority, Made, dns, uri

SPIFFE = "spiffe://example.org/billing"


def held(authority: Authority, made: Made, *chain: Made, at: float = 0.0) -> str | None:
    """Return the fault of a certificate at this many seconds from now."""
    anchors = TrustAnchors(authority.root.pem.encode())
    now = time.time() + at
    return anchors.held(made.der, [each.der for each in chain], now).fault_at(now)


def test_what_is_read(authority: Authority) -> None:
    """Fingerprint, thumbprint, the one URI, the hosts in lower case, the times; nothing of the subject."""
    made = authority.client(uri(SPIFFE), dns("Billing.Example.org"))
    found = read_der(made.der)
    digest = sha256(made.der).digest()
    assert found.digest == digest
    assert found.thumbprint == b64url_encode(digest).decode()
    assert found.names == (f"sha256:{digest.hex()}", f"uri:{SPIFFE}", "dns:billing.example.org")
    assert found.fault is None
    assert found.not_after - found.not_before == 31 * DAY.total_seconds()


def test_of_two_uris_neither_counts(authority: Authority) -> None:
    """An X.509-SVID has exactly one URI; the fingerprint and the hosts stay."""
    found = read_der(authority.client(uri(SPIFFE), uri("spiffe://example.org/admin"), dns("a.example")).der)
    assert [name.partition(":")[0] for name in found.names] == ["sha256", "dns"]


def test_a_wildcard_is_nobodys_name(authority: Authority) -> None:
    """A certificate for every host of a domain is known by its fingerprint alone."""
    assert len(read_der(authority.client(dns("*.example.org")).der).names) == 1


def test_too_many_names_are_nobodys(authority: Authority) -> None:
    """A certificate with a hundred hosts proves nobody in particular."""
    found = read_der(authority.client(*(dns(f"host-{number}.example") for number in range(100))).der)
    assert found.fault == "names"


def test_the_time_is_the_certificates_to_the_second(authority: Authority) -> None:
    """It holds from its first second to the end of its last one (RFC 5280, section 4.1.2.5)."""
    found = read_der(authority.client(dns("a.example")).der)
    assert found.fault_at(found.not_before - 0.001) == "not_yet_valid"
    assert found.fault_at(found.not_before) is None
    assert found.fault_at(found.not_after + 0.999) is None
    assert found.fault_at(found.not_after + 1) == "expired"


LEAVES: dict[str, tuple[Callable[[Authority], Made], str | None]] = {
    "right": (lambda a: a.client(dns("a.example")), None),
    "for both": (lambda a: a.client(dns("a.example"), usages=(SERVER, CLIENT)), None),
    "may sign data": (lambda a: a.client(dns("a.example"), signs=False), None),
    "for servers": (lambda a: a.client(dns("a.example"), usages=(SERVER,)), "usage"),
    "for anything": (
        lambda a: a.client(dns("a.example"), usages=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)),
        "usage",
    ),
    "without usage": (lambda a: a.client(dns("a.example"), usages=None), "usage"),
    "for signing certificates": (lambda a: a.client(dns("a.example"), signs=True), "key_usage"),
    "an authority": (lambda a: a.client(dns("a.example"), ca=True), "authority"),
    "over": (lambda a: a.client(dns("a.example"), begins=-2 * DAY, ends=-DAY), "expired"),
    "not yet": (lambda a: a.client(dns("a.example"), begins=DAY, ends=2 * DAY), "not_yet_valid"),
    "of itself": (lambda a: a.make(None, "client", [dns("a.example")]), "chain"),
    "unknown critical": (
        lambda a: a.client(
            dns("a.example"),
            extras=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00"), True)],
        ),
        "chain",
    ),
    "the root": (lambda a: a.root, "authority"),
}


@pytest.mark.parametrize("leaf", LEAVES)
def test_which_are_held(authority: Authority, leaf: str) -> None:
    """Made by the authority, in time, for clients, and no authority itself; everything else bears its fault."""
    make, fault = LEAVES[leaf]
    assert held(authority, make(authority)) == fault


def test_another_authority_of_the_same_name(authority: Authority, stranger: Authority) -> None:
    """Names of authorities prove nothing: it is the signature that counts."""
    assert held(authority, stranger.client(dns("a.example"))) == "chain"
    assert held(authority, stranger.client(dns("a.example")), stranger.root) == "chain"


def test_by_way_of_others(authority: Authority) -> None:
    """A chain of authorities, in any order; without them there is no way."""
    one = authority.make(authority.root, "one", ca=True, signs=True, usages=None)
    two = authority.make(one, "two", ca=True, signs=True, usages=None)
    leaf = authority.make(two, "client", [dns("a.example")])
    assert held(authority, leaf, two, one) is None
    assert held(authority, leaf, one, two) is None
    assert held(authority, leaf, two) == "chain"
    assert held(authority, leaf) == "chain"


def test_extra_certificates_name_nobody(authority: Authority) -> None:
    """Whatever else lies in the chain, the names are those of the client's own certificate (CVE-2023-2422)."""
    admin = authority.client(uri("spiffe://example.org/admin"))
    leaf = authority.client(uri(SPIFFE))
    found = TrustAnchors(authority.root.pem.encode()).held(leaf.der, [admin.der, authority.root.der], time.time())
    assert found.fault is None
    assert found.names[1:] == (f"uri:{SPIFFE}",)


@pytest.mark.parametrize("signs", [None, False])
def test_a_client_makes_no_other_client(authority: Authority, signs: bool | None) -> None:
    """What a client's certificate has signed is nobody's: it is no authority."""
    thief = authority.client(dns("thief.example"), signs=signs)
    assert held(authority, authority.make(thief, "client", [dns("admin.example")]), thief) == "chain"


def test_authorities_within_their_bounds(authority: Authority) -> None:
    """One that may not sign certificates, none below it, other names, other purposes, over: each refuses the chain."""
    below: dict[str, Made] = {
        "may not sign": authority.make(authority.root, "a", ca=True, signs=False, usages=None),
        "for servers": authority.make(authority.root, "b", ca=True, signs=True, usages=(SERVER,)),
        "over": authority.make(authority.root, "c", ca=True, usages=None, begins=-9 * DAY, ends=-DAY),
        "other names": authority.make(
            authority.root,
            "d",
            ca=True,
            usages=None,
            extras=[(x509.NameConstraints([x509.DNSName("other.example")], None), True)],
        ),
    }
    for what, between in below.items():
        assert held(authority, authority.make(between, "client", [dns("a.example")]), between) == "chain", what
    last = authority.make(authority.root, "e", ca=True, usages=None, path_length=0)
    beyond = authority.make(last, "f", ca=True, usages=None)
    assert held(authority, authority.make(last, "client", [dns("a.example")]), last) is None
    assert held(authority, authority.make(beyond, "client", [dns("a.example")]), beyond, last) == "chain"


def test_no_longer_than_the_chain(authority: Authority) -> None:
    """A certificate that outlives the authority above it ends with that one."""
    between = authority.make(authority.root, "short", ca=True, usages=None, ends=2 * DAY)
    leaf = authority.make(between, "client", [dns("a.example")], ends=20 * DAY)
    anchors = TrustAnchors(authority.root.pem.encode())
    found = anchors.held(leaf.der, [between.der], time.time())
    assert found.fault_at(time.time()) is None
    assert found.fault_at(time.time() + timedelta(days=3).total_seconds()) == "expired"


def test_hostile_bytes(authority: Authority) -> None:
    """What is no certificate is refused as that, whatever it is, and nothing else is ever raised."""
    der = authority.client(dns("a.example")).der
    hostile = [
        b"", b"\x00", b"0", b"\x30\x82\xff\xff", b"\xff" * 100, der[:-1], der + b"\x00", der[1:], der * 2,
        b"-----BEGIN CERTIFICATE-----", b"0\x80" + b"\x00" * 64, der[:40] + b"\xff" * 40 + der[80:],
    ]  # fmt: skip
    for number, text in enumerate(hostile):
        with pytest.raises(CertificateError) as refused:
            read_der(text)
        assert refused.value.reason == "malformed", number
    for place in range(0, len(der), 7):
        broken = bytearray(der)
        broken[place] ^= 0xFF
        with contextlib.suppress(CertificateError):
            read_der(bytes(broken))
    with pytest.raises(CertificateError) as refused:
        read_der(b"0" * (MAX_DER + 1))
    assert refused.value.reason == "too_large"


def test_a_huge_certificate(authority: Authority) -> None:
    """One with a comment of a hundred kilobytes is refused before it is read."""
    filler = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.6"), b"\x04\x82" + b"x" * 100_000)
    with pytest.raises(CertificateError, match="too_large"):
        read_der(authority.client(dns("a.example"), extras=[(filler, False)]).der)


def test_pem_is_one_certificate_and_nothing_else(authority: Authority) -> None:
    """Two certificates, a key beside it, words before it: which one is meant would be a guess."""
    made = authority.client(dns("a.example"))
    assert der_of_pem(made.pem.encode()) == made.der
    assert der_of_pem(b"\n" + made.pem.encode() + b"\r\n") == made.der
    for wrong in (
        made.pem * 2,
        made.pem + made.key_pem,
        "subject=CN=admin\n" + made.pem,
        made.pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
        made.pem.replace("-----END CERTIFICATE-----", ""),
        made.pem.replace("A", "*", 1),
        made.key_pem,
        "",
    ):
        with pytest.raises(CertificateError):
            der_of_pem(wrong.encode())
    with pytest.raises(CertificateError, match="too_large"):
        der_of_pem(b" " * 100_000)


def test_base64_is_strict() -> None:
    """No other alphabet, no space, no missing or superfluous padding."""
    assert der_of_base64(b"AAEC") == b"\x00\x01\x02"
    for wrong in (b"AAE", b"AA-_", b"AA EC", b"AAEC====", b"A===", "ÄÄÄÄ".encode()):
        with pytest.raises(CertificateError):
            der_of_base64(wrong)


@pytest.mark.parametrize(
    ("kind", "value", "name"),
    [
        ("uri", SPIFFE, f"uri:{SPIFFE}"),
        ("uri", "https://example.org/Billing", "uri:https://example.org/Billing"),
        ("dns", "Billing.Example.org", "dns:billing.example.org"),
        ("dns", "billing", "dns:billing"),
        ("sha256", ":".join(["AB"] * 32), "sha256:" + "ab" * 32),
    ],
)
def test_names_have_one_spelling(kind: str, value: str, name: str) -> None:
    """Hosts in lower case, fingerprints without colons, URIs as they are."""
    assert certificate_name(kind, value) == name


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("uri", ""), ("uri", "billing"), ("uri", "spiffe://a b"), ("uri", "spiffe:"), ("uri", "x:" + "a" * 1024),
        ("uri", "spiffe://exämple.org"), ("dns", ""), ("dns", "*"), ("dns", "*.example.org"), ("dns", "a..b"),
        ("dns", ".a"), ("dns", "a."), ("dns", "-a"), ("dns", "a/b"), ("dns", "a" * 254), ("dns", "exämple.org"),
        ("dns", "a\n"), ("sha256", ""), ("sha256", "ab" * 31), ("sha256", "zz" * 32), ("subject", "CN=billing"),
        ("email", "a@example.org"), ("", "a"),
    ],
)  # fmt: skip
def test_what_is_no_name(kind: str, value: str) -> None:
    """No wildcards, no subject, no address: nothing that would match more than it says."""
    with pytest.raises(ValueError, match="is"):
        certificate_name(kind, value)


@pytest.mark.parametrize("text", [b"", b"nothing", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_authorities_that_cannot_be_read(text: bytes) -> None:
    """Nobody is believed by mistake: without an authority nothing starts."""
    with pytest.raises(ConfigurationError, match="LIMEN_CLIENT_CA"):
        TrustAnchors(text)
