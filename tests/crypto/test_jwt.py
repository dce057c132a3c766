"""Facts about the strict envelope: what it takes, and everything it refuses."""

import json
import os
import random
import socket
from collections.abc import Callable

import pytest

from limen.core.errors import ConfigurationError
from limen.crypto import jwt as limen_jwt
from limen.crypto.jwt import MAX_TOKEN_BYTES, AccessClaims, RefreshClaims, TokenError, TokenVerifier
from limen.crypto.keys import KeySet
from tests.crypto import hostile_tokens as made
from tests.crypto.hostile_tokens import AUDIENCE, ISSUER, NOW, SECRET, SID, SUB, TTL, Hostile

OTHER_SECRET = b"the secret before this one, still accepted in tests"
FUZZED_TOKENS = int(os.environ.get("LIMEN_TEST_FUZZ_TOKENS", "20000"))


def verifier(
    *, now: float = NOW, leeway: int = 0, ahead: int = 0, keys: KeySet | None = None
) -> TokenVerifier[AccessClaims]:
    """A verifier of access tokens whose clock stands still."""
    return TokenVerifier(
        keys or KeySet.of_secrets(SECRET, [OTHER_SECRET]),
        issuer=ISSUER,
        audience=AUDIENCE,
        typ="at+jwt",
        claims=AccessClaims,
        max_lifetime=TTL,
        leeway=leeway,
        ahead=ahead,
        clock=lambda: now,
    )


def refresh_verifier(*, now: float = NOW) -> TokenVerifier[RefreshClaims]:
    """A verifier of refresh tokens whose clock stands still."""
    return TokenVerifier(
        KeySet.of_secrets(SECRET),
        issuer=ISSUER,
        audience=ISSUER,
        typ="rt+jwt",
        claims=RefreshClaims,
        max_lifetime=2_592_000,
        clock=lambda: now,
    )


def refusal(verify: Callable[[str | bytes], object], token: str | bytes) -> TokenError:
    """Return the one exception with which a token is refused."""
    with pytest.raises(TokenError) as caught:
        verify(token)
    return caught.value


class TestAccepted:
    def test_a_token_made_by_hand(self) -> None:
        """A token made after the RFCs, without limen, is accepted, as text, as bytes, and again."""
        token = made.token()
        expected = AccessClaims(
            amr=("pwd",),
            aud=AUDIENCE,
            auth_time=NOW - 10,
            client_id="limen",
            exp=NOW + TTL,
            iat=NOW,
            iss=ISSUER,
            jti="01920000-0000-7000-8000-000000000003",
            roles=frozenset({"checker", "maker"}),
            sid=SID,
            sub=SUB,
        )
        gate = verifier()
        assert [gate.verify(token), gate.verify(token.encode()), gate.verify(token)] == [expected] * 3

    def test_the_kid_is_told(self) -> None:
        """The id of the key that verified comes with the claims, for each key of the set."""
        gate = verifier()
        for secret in (SECRET, OTHER_SECRET):
            token = made.token(made.header(kid=made.kid_of(secret)), secret=secret)
            assert gate.verify_with_kid(token)[1] == made.kid_of(secret)

    @pytest.mark.parametrize(
        "body",
        [
            json.dumps(made.payload(), indent=2).encode(),
            made.compact(made.payload(scope="orders", events={"x5t": ["a"]}, acr="1", extra=None)),
            made.compact(made.payload(aud=["https://other.example", AUDIENCE])),
            made.compact(made.payload(nbf=NOW)),
            made.compact(made.payload(roles=[])),
            made.compact(made.payload(roles=["Prüfer"])),
            json.dumps(made.payload(roles=["Prüfer"]), ensure_ascii=False).encode(),
            made.compact(made.payload()).replace(b'"limen"', b'"lim\\u0065n"'),
        ],
        ids=["spaced", "unknown-claims", "audiences", "nbf", "no-roles", "escaped", "utf-8", "needless-escape"],
    )
    def test_other_spellings_of_valid_json(self, body: bytes) -> None:
        """White space, other orders, escapes, unknown claims and several audiences are allowed, as RFC 7519 says."""
        claims = verifier().verify(made.token(body=body))
        assert (claims.sub, claims.aud, claims.client_id) == (SUB, AUDIENCE, "limen")

    def test_the_long_typ(self) -> None:
        """RFC 9068, section 4: application/at+jwt is the same kind."""
        assert verifier().verify(made.token(made.header(typ="application/at+jwt"))).sub == SUB

    def test_equal_roles_are_one_set(self) -> None:
        """Tokens with the same roles share one set, and their constant texts: many of them take little memory."""
        gate = verifier()
        first = gate.verify(made.token())
        second = gate.verify(made.token(body=made.payload(jti="other")))
        assert first.roles is second.roles
        assert first.amr is second.amr
        assert first.iss is second.iss
        assert first.client_id is second.client_id

    def test_many_role_sets_are_not_kept_for_ever(self) -> None:
        """The shared sets are bounded: a service with endless combinations of roles does not fill the memory."""
        gate = verifier()
        for number in range(5000):
            gate.verify(made.token(body=made.payload(roles=[f"r{number}"], client_id=f"c{number}", amr=[f"m{number}"])))
        from limen.crypto import claims

        assert len(claims._interned_sets) <= 4096
        assert len(claims._interned_strings) <= 4096
        assert len(claims._interned_tuples) <= 4096


class TestRefused:
    @pytest.mark.parametrize("case", made.every_hostile_token(), ids=lambda case: f"{case.group}-{case.name}"[:60])
    def test_every_hostile_token(self, case: Hostile) -> None:
        """Each deviation is refused with the one exception and its reason, before and after a good token was seen."""
        gate = verifier()
        reasons = [refusal(gate.verify, case.token).reason]
        gate.verify(made.token())
        reasons.append(refusal(gate.verify, case.token).reason)
        assert set(reasons) <= set(case.reasons)
        assert len(gate.ring[1]) == 1 or case.group not in {"alg", "crit", "keyinject", "kid", "type"}

    def test_nothing_is_fetched(self) -> None:
        """No URL in a header is ever asked: a canary server gets no connection."""
        with socket.create_server(("127.0.0.1", 0)) as canary:
            canary.settimeout(0.2)
            gate = verifier()
            for case in made.keyinject(f"http://127.0.0.1:{canary.getsockname()[1]}"):
                refusal(gate.verify, case.token)
            with pytest.raises(TimeoutError):
                canary.accept()

    @pytest.mark.parametrize("thing", [None, 1, [], {}, memoryview(b"a"), bytearray(b"a.b.c"), object()])
    def test_things_that_are_no_text(self, thing: object) -> None:
        """What is neither text nor bytes is a malformed token, not a TypeError."""
        assert refusal(verifier().verify, thing).reason == "malformed"  # type: ignore[arg-type]

    def test_the_error_holds_nothing_of_the_token(self) -> None:
        """The exception says one word; no part of the token is in it or in what it was raised from."""
        for case in made.every_hostile_token():
            error = refusal(verifier().verify, case.token)
            assert str(error) == error.reason in case.reasons
            assert error.__cause__ is None
            assert error.__suppress_context__ or error.__context__ is None

    def test_an_unknown_header_is_not_remembered(self) -> None:
        """Headers of tokens that did not verify are not kept, so strangers cannot fill the memory."""
        gate = verifier()
        for number in range(200):
            head = json.dumps(made.header(), indent=number % 40).encode()
            refusal(gate.verify, made.token(head, secret=b"x" * 32))
        assert len(gate.ring[1]) == 0

    def test_remembered_headers_are_bounded(self) -> None:
        """Even under right signatures only so many spellings of the header are kept."""
        gate = verifier()
        for number in range(200):
            gate.verify(made.token(compact_with_spaces(number)))
        assert 0 < len(gate.ring[1]) <= 64

    @pytest.mark.serial
    def test_hostile_sizes_cost_no_time(self, benchmark_seconds: Callable[[Callable[[], object]], float]) -> None:
        """The longest and deepest texts are refused in milliseconds."""
        gate = verifier()
        for case in [*made.size(), *made.json_text()]:
            assert benchmark_seconds(lambda case=case: refusal(gate.verify, case.token)) < 0.05  # type: ignore[misc]


def compact_with_spaces(number: int) -> bytes:
    """One of many spellings of the same header."""
    return made.compact(made.header())[:-1] + b" " * number + b"}"


@pytest.fixture
def benchmark_seconds() -> Callable[[Callable[[], object]], float]:
    """The shortest of three runs, in seconds of this thread: what other processes do does not count."""
    import time

    def shortest(act: Callable[[], object]) -> float:
        durations = []
        for _ in range(3):
            start = time.thread_time()
            act()
            durations.append(time.thread_time() - start)
        return min(durations)

    return shortest


class TestTime:
    @pytest.mark.parametrize(
        ("leeway", "late", "accepted"), [(0, -1, True), (0, 0, False), (60, 59, True), (60, 60, False)]
    )
    def test_exp(self, leeway: int, late: int, accepted: bool) -> None:
        """A token ends with its exp, or as many seconds later as the leeway says; then the error says expired."""
        gate = verifier(now=NOW + TTL + late, leeway=leeway)
        if accepted:
            assert gate.verify(made.token()).exp == NOW + TTL
        else:
            assert refusal(gate.verify, made.token()).expired

    @pytest.mark.parametrize("claim", ["iat", "nbf"])
    def test_not_before(self, claim: str) -> None:
        """Both iat and nbf may lie in the future by no more than the leeway."""
        body = made.payload(exp=NOW + TTL, **{claim: NOW + 30})
        assert verifier(leeway=30).verify(made.token(body=body)).sub == SUB
        assert refusal(verifier(leeway=29).verify, made.token(body=body)).reason == "not_yet_valid"

    def test_from_ahead(self) -> None:
        """A verifier whose clock is behind its own issuer's takes tokens from so far ahead, and no further."""
        assert verifier(now=NOW - 600, ahead=600).verify(made.token()).sub == SUB
        assert refusal(verifier(now=NOW - 600, ahead=599).verify, made.token()).reason == "not_yet_valid"
        assert refusal(verifier(now=NOW + TTL, ahead=600).verify, made.token()).expired
        with pytest.raises(ConfigurationError):
            verifier(ahead=601)

    def test_a_clock_that_is_no_number_denies(self) -> None:
        """Where the clock answers NaN nothing is valid: every comparison is written so that unknown means no."""
        assert refusal(verifier(now=float("nan")).verify, made.token()).reason == "not_yet_valid"

    def test_only_expired_tokens_say_expired(self) -> None:
        """An expired token with another fault tells that fault: expired is true only where nothing else was wrong."""
        gate = verifier(now=NOW + 10 * TTL)
        assert refusal(gate.verify, made.token()).expired
        assert not refusal(gate.verify, made.token(secret=b"x" * 32)).expired
        assert not refusal(gate.verify, made.token(body=made.payload(aud="other"))).expired
        assert not refusal(gate.verify, made.token(body=made.payload(roles=[""]))).expired

    def test_the_long_name_takes_an_expired_token_and_nothing_else(self) -> None:
        """verify_even_if_expired drops the one check and keeps all others."""
        gate = verifier(now=NOW + 10 * TTL)
        assert gate.verify_even_if_expired(made.token()).sid == SID
        for case in made.every_hostile_token():
            if case.reasons != ("expired",):
                refusal(verifier().verify_even_if_expired, case.token)


class TestKinds:
    def test_a_refresh_token_made_by_hand(self) -> None:
        """A refresh token is read into its own claims, and its repr does not show the secret part."""
        token = made.token(made.header(typ="rt+jwt"), made.refresh_payload())
        claims = refresh_verifier().verify(token)
        assert (claims.gen, claims.jti, claims.sid, claims.sub) == (3, made.b64(bytes(range(32))), SID, SUB)
        assert claims.jti not in repr(claims)

    @pytest.mark.parametrize(
        "change",
        [
            {"gen": -1}, {"gen": 2**63}, {"gen": 1.0}, {"gen": "1"}, {"gen": True}, {"gen": None}, {"gen": ...},
            {"jti": ...}, {"jti": ""}, {"jti": "A" * 42}, {"jti": "A" * 44}, {"jti": "A" * 42 + "B"},
            {"jti": "A" * 42 + "="},
            {"jti": 1}, {"sid": "x"}, {"sub": "x"}, {"aud": AUDIENCE}, {"aud": ...}, {"exp": NOW + 2_592_001},
            {"exp": ...},
        ],
        ids=str,
    )  # fmt: skip
    def test_refresh_claims_have_their_shape(self, change: dict[str, object]) -> None:
        """A generation is a whole number from 0, a secret part the one spelling of 32 bytes."""
        token = made.token(made.header(typ="rt+jwt"), made.refresh_payload(**change))
        assert not refusal(refresh_verifier().verify, token).expired

    def test_no_kind_is_taken_for_another(self) -> None:
        """Each kind of token at each verifier, under the very same secret: only its own one takes it."""
        access = made.token()
        refresh = made.token(made.header(typ="rt+jwt"), made.refresh_payload())
        assert refusal(refresh_verifier().verify, access).reason == "typ"
        assert refusal(refresh_verifier().verify_even_if_expired, access).reason == "typ"
        assert refusal(verifier().verify, refresh).reason == "typ"


class TestConfiguration:
    @pytest.mark.parametrize(
        "change",
        [
            {"issuer": ""}, {"audience": ""}, {"leeway": 61}, {"leeway": -1}, {"max_lifetime": 0}, {"typ": "JWT"},
            {"typ": "rt+jwt"}, {"claims": RefreshClaims}, {"claims": dict},
        ],
        ids=str,
    )  # fmt: skip
    def test_what_is_unsafe_does_not_start(self, change: dict[str, object]) -> None:
        """An empty issuer or audience, a long leeway, or claims of another kind are refused at once."""
        settings = {
            "issuer": ISSUER, "audience": AUDIENCE, "typ": "at+jwt", "claims": AccessClaims, "max_lifetime": TTL,
        } | change  # fmt: skip
        with pytest.raises(ConfigurationError):
            TokenVerifier(KeySet.of_secrets(SECRET), **settings)  # type: ignore[arg-type]

    def test_the_cap_is_stated(self) -> None:
        """The cap on a token's size is 16 KiB."""
        assert MAX_TOKEN_BYTES == limen_jwt.MAX_TOKEN_BYTES == 16 * 1024


class TestFuzz:
    def test_mutated_tokens(self) -> None:
        """Whatever is done to the text of a token, it is the same token, or there is the one exception."""
        chance = random.Random(20_261_122)
        good = made.token().encode()
        gate = verifier()
        expected = gate.verify(good)
        refused = 0
        for _ in range(FUZZED_TOKENS):
            text = mutated(good, chance)
            try:
                assert gate.verify(text) == expected
                assert text == good
            except TokenError:
                refused += 1
        assert refused > FUZZED_TOKENS * 0.9

    @pytest.mark.parametrize("part", ["header", "payload"])
    def test_mutated_json_under_a_right_signature(self, part: str) -> None:
        """Behind the signature too: what is accepted is plain JSON without a doubled name, of the right shape."""
        chance = random.Random(part)
        gate = verifier()
        for _ in range(FUZZED_TOKENS // 4):
            head, body = made.compact(made.header()), made.compact(made.payload(nbf=NOW, extra={"a": ["b", 1.5]}))
            if part == "header":
                head = mutated(head, chance)
            else:
                body = mutated(body, chance)
            try:
                claims = gate.verify(made.token(head, body))
            except TokenError:
                continue
            said = json.loads(body.decode("utf-8"), object_pairs_hook=unique, parse_constant=pytest.fail)
            assert (claims.iss, claims.aud) == (ISSUER, AUDIENCE) == (said["iss"], said["aud"])
            assert claims.roles == set(said["roles"])
            assert 0 < claims.exp - claims.iat <= TTL
            assert claims.iat <= NOW < claims.exp


def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse doubled names, independently of limen."""
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


FRAGMENTS = (
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"null", b"NaN", b"1e999", b"\\ud800", b"\\u0000", b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf", b".", b"=", b"-", b"_", b"0", b"9" * 30, b'"exp":1,', b'"sub":"x",', b'"alg":"none",', b"[" * 40,
    b" ", b"\0", b"true",
)  # fmt: skip


def mutated(text: bytes, chance: random.Random) -> bytes:
    """One to four changes: a byte turned, a piece put in, taken out, doubled or moved."""
    for _ in range(chance.randint(1, 4)):
        at, upto = sorted((chance.randint(0, len(text)), chance.randint(0, len(text))))
        match chance.randint(0, 5):
            case 0 if text:
                at = min(at, len(text) - 1)
                text = text[:at] + bytes([text[at] ^ (1 << chance.randint(0, 7))]) + text[at + 1 :]
            case 1:
                text = text[:at] + chance.choice(FRAGMENTS) + text[at:]
            case 2:
                text = text[:at] + text[min(upto, at + 8) :]
            case 3:
                text = text[:upto] + text[at:upto] + text[upto:]
            case 4:
                text = text[:at] + text[upto:] + text[at:upto]
            case _:
                text = text[:at] + bytes([chance.randint(0, 255)]) + text[at:]
    return text
