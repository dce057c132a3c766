"""Facts about signing: what a token looks like, that others can verify it, and what is never signed."""

import base64
import json
from typing import Any

import joserfc.jwk
import joserfc.jwt
import jwt as pyjwt
import pytest

from limen.core.errors import ConfigurationError
from limen.crypto.jwt import AccessClaims, RefreshClaims, TokenError, TokenVerifier, access_claims
from limen.crypto.keys import KeySet, SigningKey
from limen.crypto.signing import Signer
from tests.crypto.hostile_tokens import AUDIENCE, ISSUER, NOW, SECRET, SID, SUB, TTL, b64, kid_of, token
from tests.crypto.test_keys import ALGORITHMS, signing_key

KEYS = [SigningKey.from_secret(SECRET), *(signing_key(alg) for alg in ALGORITHMS)]


def claims(**changes: Any) -> AccessClaims:
    """The claims of these tests, changed."""
    made: dict[str, Any] = {
        "issuer": ISSUER, "audience": AUDIENCE, "sub": SUB, "sid": SID, "client_id": "limen",
        "roles": ["maker", "checker"],
        "auth_time": NOW - 10, "amr": ["pwd"], "iat": NOW, "ttl": TTL,
    } | changes  # fmt: skip
    return access_claims(**made)


def verifier(key: SigningKey) -> TokenVerifier[AccessClaims]:
    """A verifier for one key."""
    return TokenVerifier(
        KeySet([key]),
        issuer=ISSUER,
        audience=AUDIENCE,
        typ="at+jwt",
        claims=AccessClaims,
        max_lifetime=TTL,
        clock=lambda: NOW,
    )


def parts(text: str) -> list[bytes]:
    """The three decoded segments."""
    return [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in text.split(".")]


class TestTokens:
    def test_the_exact_bytes(self) -> None:
        """Header and payload are compact JSON with sorted names: a token made by hand is the same text."""
        made = AccessClaims(
            amr=("pwd",),
            aud=AUDIENCE,
            auth_time=NOW - 10,
            client_id="limen",
            exp=NOW + TTL,
            iat=NOW,
            iss=ISSUER,
            jti="01920000-0000-7000-8000-000000000003",
            roles=frozenset({"maker", "checker"}),
            sid=SID,
            sub=SUB,
        )
        assert Signer(KEYS[0], "at+jwt").sign(made) == token()

    def test_what_is_remembered_of_roles(self) -> None:
        """Sets of roles found well-formed are not looked at again; a refused one is, and the memory is bounded."""
        from limen.crypto import claims as module

        for number in range(5000):
            claims(roles=[f"held-{number}"])
        assert frozenset({"held-4999"}) in module._written_sets
        assert len(module._written_sets) <= 4096
        for _ in range(2):
            with pytest.raises(ValueError, match=r": roles\Z"):
                claims(roles=["held-4999", "new\nline"])
            with pytest.raises(ValueError, match=r": amr, client_id\Z"):
                claims(amr=["p w d"], client_id="li men")

    def test_the_closed_list_of_claims(self) -> None:
        """An access token carries these claims and no other (RFC 9068, section 2.2), and a header of three members."""
        header, payload, _ = parts(Signer(KEYS[0], "at+jwt").sign(claims()))
        assert json.loads(header) == {"alg": "HS256", "kid": kid_of(SECRET), "typ": "at+jwt"}
        assert set(json.loads(payload)) == {
            "iss", "aud", "sub", "sid", "client_id", "jti", "iat", "exp", "roles", "auth_time", "amr",
        }  # fmt: skip

    @pytest.mark.parametrize("key", KEYS, ids=lambda key: key.alg)
    def test_there_and_back(self, key: SigningKey) -> None:
        """What is signed is what is verified, for each algorithm; another key of the kind refuses it."""
        said = claims()
        text = Signer(key, "at+jwt").sign(said)
        assert verifier(key).verify(text) == said
        other = SigningKey.from_secret(b"x" * 32) if key.alg == "HS256" else SigningKey.generate("ES256")
        with pytest.raises(TokenError):
            verifier(other).verify(text)

    # joserfc prefers the name Ed25519 (RFC 9864) to EdDSA and says so.
    @pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
    @pytest.mark.parametrize("key", KEYS, ids=lambda key: key.alg)
    def test_other_libraries_verify(self, key: SigningKey) -> None:
        """PyJWT and joserfc, given the secret or the published JWK, verify the token and read the same claims."""
        text = Signer(key, "at+jwt").sign(claims())
        published = key.verification_key.public_jwk() or {"kty": "oct", "k": b64(SECRET)}
        read = joserfc.jwt.decode(text, joserfc.jwk.import_key(dict(published)), algorithms=[key.alg]).claims
        material = SECRET if key.alg == "HS256" else pyjwt.PyJWK(published).key
        options: Any = {"verify_exp": False, "verify_iat": False}
        assert read == pyjwt.decode(
            text, material, algorithms=[key.alg], audience=AUDIENCE, issuer=ISSUER, options=options
        )
        assert (read["sub"], sorted(read["roles"])) == (SUB, ["checker", "maker"])

    def test_the_order_of_a_set_does_not_show(self) -> None:
        """The same claims are the same bytes, in whatever order the roles came."""
        signer = Signer(KEYS[0], "at+jwt")
        roles = [f"role-{number}" for number in range(50)]
        first, second = claims(roles=roles), claims(roles=roles[::-1])
        assert parts(signer.sign(first))[1].replace(first.jti.encode(), b"") == parts(signer.sign(second))[1].replace(
            second.jti.encode(), b""
        )

    def test_each_access_token_has_its_own_id(self) -> None:
        """Two tokens made in the same second for the same session differ in jti."""
        assert len({claims().jti for _ in range(100)}) == 100

    def test_refresh_token(self) -> None:
        """A refresh token has its own typ and the claims that the row dictates."""
        said = RefreshClaims(aud=ISSUER, exp=NOW + 60, gen=4, iat=NOW, iss=ISSUER, jti="A" * 43, sid=SID, sub=SUB)
        header, payload, _ = parts(Signer(KEYS[0], "rt+jwt").sign(said))
        assert json.loads(header)["typ"] == "rt+jwt"
        assert payload == json.dumps(
            {"aud": ISSUER, "exp": NOW + 60, "gen": 4, "iat": NOW, "iss": ISSUER, "jti": "A" * 43, "sid": SID,
            "sub": SUB},
            separators=(",", ":"),
        ).encode()  # fmt: skip

    def test_another_kind(self) -> None:
        """A typ that has no claims of its own carries a mapping, sorted; it is no access token."""
        text = Signer(KEYS[0], "limen-header+jwt").sign({"sub": SUB, "aud": AUDIENCE})
        assert parts(text)[1] == b'{"aud":"' + AUDIENCE.encode() + b'","sub":"' + SUB.encode() + b'"}'
        with pytest.raises(TokenError, match="typ"):
            verifier(KEYS[0]).verify(text)


class TestNothingPersonal:
    @pytest.mark.parametrize("extra", ["email", "name", "username", "phone_number", "scope", "groups"])
    def test_a_claim_that_is_not_on_the_list(self, extra: str) -> None:
        """There is no field for a name or an address: giving one is an error, in the helper and in the struct."""
        with pytest.raises(TypeError):
            claims(**{extra: "maker@example.org"})
        said = claims()
        fields: dict[str, Any] = {name: getattr(said, name) for name in said.__struct_fields__}
        with pytest.raises(TypeError):
            AccessClaims(**fields | {extra: "maker@example.org"})

    def test_what_is_not_the_closed_list_is_not_signed(self) -> None:
        """A mapping, a subclass with one more field, or claims of another kind are refused for at+jwt and rt+jwt."""

        class Chatty(AccessClaims, frozen=True, kw_only=True):
            email: str = "maker@example.org"

        said = claims()
        fields = {name: getattr(said, name) for name in said.__struct_fields__}
        refresh = RefreshClaims(aud=ISSUER, exp=2, gen=0, iat=1, iss=ISSUER, jti="A" * 43, sid=SID, sub=SUB)
        for typ, thing in (
            ("at+jwt", fields), ("at+jwt", Chatty(**fields)), ("at+jwt", refresh), ("rt+jwt", said), ("rt+jwt", fields),
            ("at+jwt", None), ("x+jwt", said), ("x+jwt", "text"),
        ):  # fmt: skip
            with pytest.raises(TypeError, match="does not carry"):
                Signer(KEYS[0], typ).sign(thing)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"sub": "maker@example.org"}, "sub"), ({"sub": ""}, "sub"), ({"sid": "x"}, "sid"),
            ({"client_id": ""}, "client_id"),
            ({"client_id": "a b"}, "client_id"), ({"roles": [""]}, "roles"), ({"roles": ["x" * 129]}, "roles"),
            ({"roles": [f"r{n}" for n in range(257)]}, "roles"), ({"roles": ["a\n"]}, "roles"),
            ({"amr": ["a b"]}, "amr"),
            ({"amr": ["x"] * 17}, "amr"), ({"ttl": 0}, "exp"), ({"ttl": -1}, "exp"), ({"iat": -1}, "exp"),
            ({"auth_time": -1}, "auth_time"), ({"issuer": ""}, "iss"), ({"audience": ""}, "aud"),
        ],
        ids=str,
    )  # fmt: skip
    def test_what_no_verifier_would_take_is_not_made(self, change: dict[str, object], named: str) -> None:
        """The error names the claim and never its value, which may be personal."""
        with pytest.raises(ValueError, match=named) as caught:
            claims(**change)
        assert "example.org" not in str(caught.value)


class TestConfiguration:
    @pytest.mark.parametrize("typ", ["", "JWT", "jwt", "AT+JWT", "at+jwt ", "ät+jwt"])
    def test_a_typ_names_its_kind(self, typ: str) -> None:
        """A bare JWT could be taken for anything: not signed (RFC 8725, section 3.11)."""
        with pytest.raises(ConfigurationError):
            Signer(KEYS[0], typ)

    def test_nothing_shows(self) -> None:
        """The repr of a signer does not show its key."""
        assert repr(Signer(KEYS[0], "at+jwt")) == f"Signer(HS256 {kid_of(SECRET)!r} at+jwt)"
