"""ID tokens, signed userinfo and logout tokens: what is believed, and the long list of what is not."""

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from limen.authn.id_token import (
    LOGOUT_EVENT,
    IdTokenClaims,
    verify_id_token,
    verify_logout_token,
    verify_userinfo,
)
from limen.core.errors import ConfigurationError
from limen.crypto.jwt import TokenError
from limen.crypto.keys import AsymmetricAlgorithm, KeySet, SigningKey, VerificationKey

NOW = 1_800_000_000
ISSUER = "https://op.example"
CLIENT = "client-1"
NONCE = "n-0S6_WzA2Mj"
ACCESS = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"
CODE = "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk"
TENANT = "https://login.example/{tenantid}/v2.0"
TID = "9188040d-6c67-4c5b-b112-36a304b66dad"

ALGORITHMS: tuple[AsymmetricAlgorithm, ...] = ("RS256", "ES256", "EdDSA")
KEYS = {alg: SigningKey.generate(alg) for alg in ALGORITHMS}
STRANGER = {alg: SigningKey.generate(alg) for alg in ALGORITHMS}


class Fixed:
    """Keys that are known already, as `IssuersKeys`."""

    def __init__(self, *keys: SigningKey, issuers: dict[str, str] | None = None) -> None:
        self._keys = KeySet(keys)
        self._issuers = issuers or {}

    async def key(self, kid: str | None, alg: str) -> VerificationKey:
        """Return the key, or say that there is none."""
        found = next(iter(self._keys)) if kid is None else self._keys.get(kid)
        if found is None:
            raise TokenError("kid")
        return found

    def stated_issuer(self, kid: str) -> str | None:
        """Return what the test says."""
        return self._issuers.get(kid)


def b64(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def half(text: str, name: str = "sha256") -> str:
    """Return the left half of a hash."""
    whole = hashlib.new(name, text.encode()).digest()
    return b64(whole[: len(whole) // 2])


def signed(claims: dict[str, Any], header: dict[str, Any] | None = None, key: SigningKey | None = None) -> str:
    """Sign claims with PyJWT, which is not what verifies them; None takes a member of the header away."""
    key = key or KEYS["RS256"]
    kid = next(known.kid for alg, known in KEYS.items() if alg == key.alg)
    members = {"kid": kid, "typ": None, **(header or {})}
    if members["kid"] is None:
        del members["kid"]
    return jwt.PyJWS().encode(json.dumps(claims).encode(), key.material, key.alg, members)


def claims_of(**changes: Any) -> dict[str, Any]:
    """Return the claims of a good ID token, changed; None takes one away."""
    good = {"iss": ISSUER, "sub": "24400320", "aud": CLIENT, "nonce": NONCE, "iat": NOW - 5, "exp": NOW + 300}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


async def verify(token: str | bytes, **changes: Any) -> IdTokenClaims:
    """Verify as the client would."""
    given: dict[str, Any] = {
        "issuer": ISSUER, "client_id": CLIENT, "nonce": NONCE, "keys": Fixed(*KEYS.values()), "now": NOW,
        "algorithms": ALGORITHMS, **changes,
    }  # fmt: skip
    return await verify_id_token(token, **given)


async def reason(token: str | bytes, **changes: Any) -> str:
    """Return why a token is not believed."""
    with pytest.raises(TokenError) as raised:
        await verify(token, **changes)
    return raised.value.reason


@pytest.mark.parametrize("alg", ALGORITHMS)
async def test_a_good_one_says_who(alg: AsymmetricAlgorithm) -> None:
    """Identity, times, context and session are told; all the rest is there as well, and cannot be changed."""
    more = {
        "auth_time": NOW - 60,
        "acr": "urn:mace:silver",
        "amr": ["pwd", "otp"],
        "sid": "s-1",
        "email": "a@b.example",
    }
    told = await verify(signed(claims_of(**more), key=KEYS[alg]))
    assert (told.issuer, told.subject, told.audience, told.sid) == (ISSUER, "24400320", (CLIENT,), "s-1")
    assert (told.issued_at, told.expires_at, told.auth_time) == (NOW - 5, NOW + 300, NOW - 60)
    assert (told.acr, told.amr, told.tenant) == ("urn:mace:silver", ("pwd", "otp"), None)
    assert told.claims["email"] == "a@b.example"
    assert "a@b.example" not in repr(told)
    with pytest.raises(TypeError):
        told.claims["email"] = "c@d.example"  # type: ignore[index]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"iss": None}, "iss"), ({"iss": "https://evil.example"}, "iss"), ({"iss": ISSUER + "/"}, "iss"),
        ({"iss": "https://OP.example"}, "iss"), ({"iss": [ISSUER]}, "iss"), ({"iss": TENANT}, "iss"),
        ({"sub": None}, "sub"), ({"sub": ""}, "sub"), ({"sub": 24400320}, "sub"), ({"sub": "x" * 256}, "sub"),
        ({"sub": "ж"}, "sub"), ({"sub": "a\nb"}, "sub"),
        ({"aud": None}, "aud"), ({"aud": "client-2"}, "aud"), ({"aud": []}, "aud"), ({"aud": [CLIENT, 5]}, "aud"),
        ({"aud": {"a": CLIENT}}, "aud"), ({"aud": "CLIENT-1"}, "aud"), ({"aud": "client-12"}, "aud"),
        ({"aud": [CLIENT, "api"], "azp": CLIENT}, "aud"),
        ({"azp": "client-2"}, "azp"), ({"azp": 5}, "azp"),
        ({"iat": None}, "iat"), ({"iat": str(NOW)}, "iat"), ({"iat": True}, "iat"),
        ({"iat": NOW + 31}, "not_yet_valid"), ({"iat": NOW - 4000}, "too_old"),
        ({"iat": -1}, "iat"), ({"iat": 1e300}, "iat"),
        ({"exp": None}, "exp"), ({"exp": "later"}, "exp"), ({"exp": NOW - 5}, "exp"), ({"exp": NOW - 10}, "exp"),
        ({"iat": NOW - 400, "exp": NOW - 30}, "expired"), ({"nbf": NOW + 31}, "not_yet_valid"), ({"nbf": "x"}, "nbf"),
        ({"nonce": None}, "nonce"), ({"nonce": "other"}, "nonce"), ({"nonce": ""}, "nonce"),
        ({"nonce": [NONCE]}, "nonce"), ({"acr": 5}, "acr"), ({"amr": [5]}, "amr"), ({"sid": {}}, "sid"),
    ],
    ids=str,
)  # fmt: skip
async def test_claims_that_do_not_fit(changes: dict[str, Any], expected: str) -> None:
    """Rightly signed, and all the same not for this issuer, client, login or time, or not of its type."""
    token = signed(claims_of(**changes) if None in changes.values() else {**claims_of(), **changes})
    assert await reason(token) == expected


async def test_signatures_that_are_not_the_issuers() -> None:
    """Another's key under this kid, none at all, a changed payload, and the public key as a secret."""
    good = signed(claims_of())
    head, body, tag = good.split(".")
    for alg in ALGORITHMS:
        assert await reason(signed(claims_of(), key=STRANGER[alg])) == "signature"
    evil = b64(json.dumps(claims_of(sub="1")).encode())
    assert await reason(f"{head}.{evil}.{tag}") == "signature"
    for alg_name in ("none", "None", "NONE", "nOnE", "HS256", "HS512", "RS384", "PS256", "", "RS256 "):
        for end in ("", tag):
            header = b64(json.dumps({"alg": alg_name, "kid": KEYS["RS256"].kid}).encode())
            assert await reason(f"{header}.{body}.{end}") in {"alg", "malformed"}
    public = KEYS["RS256"].verification_key._public
    assert public is not None
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, b"the-client-secret"):
        header = b64(json.dumps({"alg": "HS256", "kid": KEYS["RS256"].kid}).encode())
        mac = b64(hmac.digest(secret, f"{header}.{body}".encode(), "sha256"))
        assert await reason(f"{header}.{body}.{mac}") == "alg"


async def test_the_algorithm_is_the_registered_one() -> None:
    """A key of the issuer's for another algorithm, and an algorithm that the client is not registered for, are no."""
    es256 = signed(claims_of(), key=KEYS["ES256"])
    assert await reason(es256, algorithms=("RS256",)) == "alg"
    crossed = signed(claims_of(), {"kid": KEYS["ES256"].kid})
    assert await reason(crossed) == "alg"
    for wrong in ((), ("none",), ("HS256",), ("RS256", "HS256"), "RS256"):
        with pytest.raises(ConfigurationError):
            await verify(es256, algorithms=wrong)


async def test_keys_are_the_configured_ones() -> None:
    """A key in the header, or an address of keys, is not looked at; what would change the reading is refused."""
    stranger = STRANGER["RS256"]
    jwk = stranger.verification_key.public_jwk()
    token = signed(claims_of(), {"kid": stranger.kid, "jwk": jwk, "jku": "https://evil.example/keys"}, stranger)
    assert await reason(token) == "kid"
    _, body, tag = signed(claims_of()).split(".")
    members: list[dict[str, object]] = [{"crit": ["exp"]}, {"b64": False}, {"zip": "DEF"}, {"cty": "JWT"}, {"crit": []}]
    for member in members:
        header = b64(json.dumps({"alg": "RS256", "kid": KEYS["RS256"].kid, **member}).encode())
        assert await reason(f"{header}.{body}.{tag}") == "header"
    assert (await verify(signed(claims_of(), {"kid": None}))).subject == "24400320"
    assert await reason(signed(claims_of(), {"kid": None}, KEYS["ES256"])) == "alg"


@pytest.mark.parametrize("typ", ["at+jwt", "logout+jwt", "secevent+jwt", "application/at+jwt", "dpop+jwt", "JWS"])
async def test_a_token_of_another_kind_is_no_id_token(typ: str) -> None:
    """What says that it is something else is that; JWT, in any case, and nothing are what ID tokens say."""
    assert await reason(signed(claims_of(), {"typ": typ})) == "typ"
    for fine in ("JWT", "jwt", "application/jwt"):
        assert (await verify(signed(claims_of(), {"typ": fine}))).subject == "24400320"


async def test_several_audiences_need_trust_and_the_party() -> None:
    """Another audience has to be trusted, and then the token must say that it was given to this client."""
    both = {"aud": [CLIENT, "api"], "azp": CLIENT}
    assert (await verify(signed(claims_of(**both)), trusted_audiences=("api",))).audience == (CLIENT, "api")
    assert await reason(signed(claims_of(aud=[CLIENT, "api"])), trusted_audiences=("api",)) == "azp"
    assert await reason(signed(claims_of(aud=["api"])), trusted_audiences=("api",)) == "aud"
    assert (await verify(signed(claims_of(azp=CLIENT)))).audience == (CLIENT,)


async def test_a_nonce_that_was_not_sent() -> None:
    """Where none was sent there must be none; an empty one is nobody's, and never matches a token without."""
    assert (await verify(signed(claims_of(nonce=None)), nonce=None)).subject == "24400320"
    assert await reason(signed(claims_of()), nonce=None) == "nonce"
    assert await reason(signed(claims_of(nonce=None)), nonce="") == "nonce"


@pytest.mark.parametrize(("alg", "name"), [("RS256", "sha256"), ("ES256", "sha256"), ("EdDSA", "sha512")])
async def test_hashes_bind_what_came_with_it(alg: AsymmetricAlgorithm, name: str) -> None:
    """at_hash and c_hash are checked where they are there, by the hash of the signature's algorithm."""
    key = KEYS[alg]
    right = {"at_hash": half(ACCESS, name), "c_hash": half(CODE, name)}
    assert (await verify(signed(claims_of(**right), key=key), access_token=ACCESS, code=CODE)).subject == "24400320"
    assert await reason(signed(claims_of(**right), key=key), access_token=ACCESS + "x") == "at_hash"
    assert await reason(signed(claims_of(**right), key=key), code=CODE[:-1]) == "c_hash"
    assert await reason(signed(claims_of(**right), key=key), access_token="ж") == "at_hash"
    other = "sha512" if name == "sha256" else "sha256"
    for wrong in (half(ACCESS, other), half(ACCESS, name) + "=", half(ACCESS, name)[:10], "", 5, ["x"]):
        token = signed({**claims_of(), "at_hash": wrong}, key=key)
        assert await reason(token, access_token=ACCESS) == "at_hash"


async def test_an_unknown_algorithm_fails_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be computed is not passed over."""
    monkeypatch.setattr("limen.authn.id_token._HASHES", {})
    assert await reason(signed(claims_of(at_hash=half(ACCESS))), access_token=ACCESS) == "at_hash"


async def test_hashes_are_required_by_the_front_channel() -> None:
    """From the token endpoint they may be missing; through the browser they may not."""
    token = signed(claims_of())
    assert (await verify(token, access_token=ACCESS, code=CODE)).subject == "24400320"
    assert await reason(token, access_token=ACCESS, by_front_channel=True) == "at_hash"
    assert await reason(signed(claims_of(at_hash=half(ACCESS))), access_token=ACCESS, code=CODE,
                        by_front_channel=True) == "c_hash"  # fmt: skip


async def test_how_long_ago_the_person_was_asked() -> None:
    """With max_age, or where it is registered, auth_time must be there; it is neither too long ago nor to come."""
    assert await reason(signed(claims_of()), max_age=60) == "auth_time"
    assert await reason(signed(claims_of()), auth_time_required=True) == "auth_time"
    assert await reason(signed(claims_of(auth_time=NOW - 91)), max_age=60) == "auth_time"
    assert await reason(signed(claims_of(auth_time=NOW + 31))) == "auth_time"
    assert await reason(signed(claims_of(auth_time="then")), max_age=60) == "auth_time"
    assert (await verify(signed(claims_of(auth_time=NOW - 90)), max_age=60)).auth_time == NOW - 90
    assert (await verify(signed(claims_of(auth_time=NOW - 10)), max_age=0)).auth_time == NOW - 10


async def test_the_issuer_of_a_tenant_is_put_together_and_compared() -> None:
    """A template is no pattern: one GUID in one place, equal to the letter; and the key must be for that issuer."""
    mine = TENANT.replace("{tenantid}", TID)
    good = {"iss": mine, "tid": TID}
    assert (await verify(signed(claims_of(**good)), issuer=TENANT)).tenant == TID
    for wrong in (
        {"iss": mine}, {"iss": mine, "tid": TID.upper()}, {"iss": mine, "tid": "00000000-0000-0000-0000-000000000000"},
        {"iss": TENANT, "tid": "{tenantid}"}, {"iss": "https://login.example/evil/v2.0", "tid": "evil"},
        {"iss": "https://evil.example/" + TID + "/v2.0", "tid": TID}, {"iss": mine, "tid": TID + "\n"},
        {"iss": mine + "/x", "tid": TID + "/v2.0/x"}, {"iss": ISSUER, "tid": TID},
    ):  # fmt: skip
        assert await reason(signed(claims_of(**wrong)), issuer=TENANT) in {"iss", "tid"}
    kid = KEYS["RS256"].kid
    for stated in (TENANT, mine):
        fixed = Fixed(KEYS["RS256"], issuers={kid: stated})
        assert (await verify(signed(claims_of(**good)), issuer=TENANT, keys=fixed)).tenant == TID
    other = Fixed(KEYS["RS256"], issuers={kid: TENANT.replace("{tenantid}", "00000000-0000-0000-0000-000000000000")})
    assert await reason(signed(claims_of(**good)), issuer=TENANT, keys=other) == "iss"
    assert (await verify(signed(claims_of(**good)), issuer=mine)).tenant is None
    assert await reason(signed(claims_of()), issuer="") == "iss"


def _texts() -> list[str | bytes]:
    head, body, tag = "eyJhbGciOiJSUzI1NiJ9", b64(json.dumps(claims_of()).encode()), "AAAA"
    twice = b64(b'{"alg":"none","alg":"RS256"}')
    return [
        "", ".", "..", "...", "a.b", "a.b.c.d", f"{head}.{body}", f"{head}.{body}.", f".{body}.{tag}", f"{head}..{tag}",
        f"{head}.{body}.{tag}.{tag}.{tag}", f"{head}=.{body}.{tag}", f"{head}\n.{body}.{tag}", f"{twice}.{body}.{tag}",
        f"{b64(b'[]')}.{body}.{tag}", f"{head}.{b64(b'[]')}.{tag}", f"{head}.{b64(b'{')}.{tag}", "ж.ж.ж",
        "x" * 20_000, b"\xff.\xff.\xff", f"{head}.{b64(b'[' * 8000)}.{tag}", f"{b64(b'{' * 5000)}.{body}.{tag}",
        f'{b64(b"""{"alg":"RS256","kid":5}""")}.{body}.{tag}', f'{b64(b"""{"alg":"RS256","typ":5}""")}.{body}.{tag}',
        f'{b64(b"""{"alg":["RS256"]}""")}.{body}.{tag}', f'{b64(b"""{"kid":"x"}""")}.{body}.{tag}',
    ]  # fmt: skip


@pytest.mark.parametrize("text", _texts(), ids=lambda text: str(text)[:20])
async def test_texts_that_are_no_tokens(text: str | bytes) -> None:
    """Whatever is sent, the one answer is that it is not believed: no other exception."""
    assert await reason(text)


async def test_the_leeway_is_bounded() -> None:
    """A minute at most: what is configured beyond is refused before anything is read."""
    for leeway in (-1, 61):
        with pytest.raises(ConfigurationError):
            await verify("", leeway=leeway)


# --- logout tokens


def logout_claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a good logout token, changed; None takes one away."""
    good = {
        "iss": ISSUER, "sub": "24400320", "sid": "s-1", "aud": CLIENT, "iat": NOW, "exp": NOW + 120, "jti": "j-1",
        "events": {LOGOUT_EVENT: {}},
    }  # fmt: skip
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


async def logout(claims: dict[str, Any], typ: str | None = "logout+jwt", **changes: Any) -> Any:
    """Verify a logout token."""
    given: dict[str, Any] = {"issuer": ISSUER, "client_id": CLIENT, "keys": Fixed(KEYS["RS256"]), "now": NOW, **changes}
    return await verify_logout_token(signed(claims, {"typ": typ}), **given)


async def test_a_good_logout_token_says_what_ends() -> None:
    """One session, or all of a person; its id is told so that it can be remembered."""
    told = await logout(logout_claims())
    assert (told.issuer, told.subject, told.sid, told.jti, told.expires_at) == (
        ISSUER, "24400320", "s-1", "j-1", NOW + 120,
    )  # fmt: skip
    assert (await logout(logout_claims(sid=None))).sid is None
    assert (await logout(logout_claims(sub=None), "application/logout+JWT")).subject is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"nonce": NONCE}, "nonce"), ({"nonce": ""}, "nonce"), ({"events": None}, "events"), ({"events": []}, "events"),
        ({"events": {}}, "events"), ({"events": {LOGOUT_EVENT: True}}, "events"), ({"events": LOGOUT_EVENT}, "events"),
        ({"sub": None, "sid": None}, "sub"), ({"jti": None}, "jti"), ({"jti": ""}, "jti"), ({"jti": 5}, "jti"),
        ({"exp": None}, "exp"), ({"exp": NOW + 601}, "exp"), ({"iat": None}, "iat"),
        ({"iat": NOW + 31}, "not_yet_valid"), ({"iat": NOW - 300, "exp": NOW - 30}, "expired"),
        ({"aud": "client-2"}, "aud"),
        ({"iss": "https://e.example"}, "iss"), ({"sid": 5}, "sid"), ({"sub": 5}, "sub"),
        ({"aud": [CLIENT, "other"]}, "aud"),
    ],
    ids=str,
)  # fmt: skip
async def test_logout_tokens_that_end_nothing(changes: dict[str, Any], expected: str) -> None:
    """Each rule of section 2.6 is asked."""
    claims = {**logout_claims(), **changes}
    with pytest.raises(TokenError, match=expected):
        await logout({name: value for name, value in claims.items() if value is not None})


async def test_an_id_token_is_no_logout_token_and_the_other_way() -> None:
    """By the type, and where an old issuer names none, by the event and the nonce."""
    for typ in (None, "JWT", "at+jwt"):
        with pytest.raises(TokenError, match="typ"):
            await logout(logout_claims(), typ)
    assert (await logout(logout_claims(), None, untyped=True)).jti == "j-1"
    with pytest.raises(TokenError, match="typ"):
        await logout(logout_claims(), "at+jwt", untyped=True)
    with pytest.raises(TokenError, match="events"):
        await logout(claims_of(jti="j"), "JWT", untyped=True)
    with pytest.raises(TokenError, match="nonce"):
        await logout(claims_of(jti="j", events={LOGOUT_EVENT: {}}), None, untyped=True)
    assert await reason(signed(logout_claims(nonce=NONCE), {"typ": "logout+jwt"})) == "typ"
    with pytest.raises(TokenError, match="signature"):
        await verify_logout_token(
            signed(logout_claims(), {"typ": "logout+jwt"}, STRANGER["RS256"]),
            issuer=ISSUER, client_id=CLIENT, keys=Fixed(KEYS["RS256"]), now=NOW,
        )  # fmt: skip


# --- userinfo


def userinfo_claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of good userinfo, changed."""
    return {"iss": ISSUER, "sub": "24400320", "aud": CLIENT, "email": "a@b.example", **changes}


async def userinfo(token: str, **changes: Any) -> Any:
    """Verify userinfo as the client would."""
    given: dict[str, Any] = {
        "issuer": ISSUER, "client_id": CLIENT, "subject": "24400320", "keys": Fixed(*KEYS.values()), "now": NOW,
        "algorithms": ALGORITHMS, **changes,
    }  # fmt: skip
    return await verify_userinfo(token, **given)


@pytest.mark.parametrize("alg", ALGORITHMS)
async def test_good_userinfo_is_told(alg: AsymmetricAlgorithm) -> None:
    """With every algorithm of the list, with a type or without one; nothing of it can be changed."""
    told = await userinfo(signed(userinfo_claims(), None, KEYS[alg]))
    assert (told["sub"], told["email"]) == ("24400320", "a@b.example")
    assert await userinfo(signed(userinfo_claims(), {"typ": "JWT"}, KEYS[alg])) == told
    with pytest.raises(TypeError):
        told["email"] = "c@d.example"
    assert (await userinfo(signed({"sub": "24400320"})))["sub"] == "24400320"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"iss": None}, "iss"), ({"iss": [ISSUER]}, "iss"), ({"iss": ISSUER + "/"}, "iss"), ({"iss": ""}, "iss"),
        ({"aud": None}, "aud"), ({"aud": ""}, "aud"), ({"aud": [5]}, "aud"), ({"aud": "CLIENT-1"}, "aud"),
        ({"sub": None}, "sub"), ({"sub": 24400320}, "sub"), ({"sub": ""}, "sub"), ({"sub": "24400321"}, "sub"),
        ({"nonce": NONCE}, "nonce"), ({"nonce": None}, "nonce"), ({"at_hash": half(ACCESS)}, "at_hash"),
        ({"c_hash": half(CODE)}, "c_hash"), ({"s_hash": "x"}, "s_hash"), ({"events": {LOGOUT_EVENT: {}}}, "events"),
        ({"exp": NOW - 30}, "expired"), ({"exp": "later"}, "exp"), ({"nbf": NOW + 31}, "not_yet_valid"),
        ({"iat": NOW + 31}, "not_yet_valid"), ({"iat": True}, "iat"),
    ],
    ids=str,
)  # fmt: skip
async def test_userinfo_that_does_not_fit(changes: dict[str, Any], expected: str) -> None:
    """Rightly signed, and of another issuer, client, person or time, or another token of the issuer."""
    with pytest.raises(TokenError) as raised:
        await userinfo(signed(userinfo_claims(**changes)))
    assert raised.value.reason == expected


async def test_userinfo_of_other_keys_algorithms_and_types() -> None:
    """The key is the issuer's and for this issuer, the algorithm the registered one, and the type says nothing else."""
    good = userinfo_claims()
    for token, changes, expected in (
        (signed(good, key=STRANGER["RS256"]), {}, "signature"),
        (signed(good, {"kid": "another"}), {}, "kid"),
        (signed(good, key=KEYS["ES256"]), {"algorithms": ("RS256",)}, "alg"),
        (signed(good, {"typ": "at+jwt"}), {}, "typ"),
        (signed(good, {"typ": "logout+jwt"}), {}, "typ"),
        (signed(good, {"crit": ["x"], "x": 1}), {}, "header"),
        (signed({"sub": "24400320"}), {"keys": Fixed(KEYS["RS256"], issuers={KEYS["RS256"].kid: "https://e"})}, "iss"),
    ):
        with pytest.raises(TokenError) as raised:
            await userinfo(token, **changes)
        assert raised.value.reason == expected
    assert await userinfo(signed(good, {"typ": "application/jwt"}))
    with pytest.raises(ConfigurationError):
        await userinfo(signed(good), leeway=61)
    with pytest.raises(ConfigurationError):
        await userinfo(signed(good), algorithms=("HS256",))


async def test_an_id_token_is_no_userinfo_and_the_other_way() -> None:
    """An ID token always has the nonce that was sent; userinfo has none, and no times that a login needs."""
    with pytest.raises(TokenError, match="nonce"):
        await userinfo(signed(claims_of()))
    assert await reason(signed(userinfo_claims())) == "iat"
    assert await reason(signed(userinfo_claims(iat=NOW, exp=NOW + 300))) == "nonce"
