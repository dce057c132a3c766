"""Facts about the cache of claims: which token gets which claims, how much is kept, what a hit does not say."""

import hashlib
import sys
import threading

import pytest

from limen.core.errors import ConfigurationError
from limen.crypto.claims_cache import ClaimsCache
from limen.crypto.jwt import AccessClaims, TokenVerifier
from limen.crypto.keys import KeySet
from tests.crypto import hostile_tokens as made
from tests.crypto.hostile_tokens import AUDIENCE, ISSUER, NOW, SECRET, TTL


class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


def verifier(clock: Clock) -> TokenVerifier[AccessClaims]:
    """A verifier with a clock to turn."""
    return TokenVerifier(
        KeySet.of_secrets(SECRET),
        issuer=ISSUER,
        audience=AUDIENCE,
        typ="at+jwt",
        claims=AccessClaims,
        max_lifetime=TTL,
        clock=clock,
    )


def token(number: int = 0) -> bytes:
    """A good token with an id of its own."""
    return made.token(body=made.payload(jti=f"n{number}")).encode()


def filled(count: int, capacity: int) -> ClaimsCache[AccessClaims]:
    """A cache into which so many tokens were put."""
    cache = ClaimsCache[AccessClaims](capacity)
    gate = verifier(Clock())
    for number in range(count):
        cache.put(token(number), *gate.verify_with_kid(token(number)))
    return cache


class TestKeys:
    def test_hit_and_miss(self) -> None:
        """Exactly the token that was put in is found, with its claims and the id of its key."""
        cache = filled(2, 10)
        found = cache.get(token(1))
        assert found is not None
        assert (found[0].jti, found[1]) == ("n1", made.kid_of(SECRET))
        assert cache.get(token(2)) is None

    def test_the_whole_token_is_the_key(self) -> None:
        """A token with the same header and payload and any other signature, or one more byte, finds nothing."""
        cache = filled(1, 10)
        good = token(0)
        for other in (
            good[:-1] + b"A",
            good[:-1],
            good + b"=",
            good + b"\n",
            good.rpartition(b".")[0] + b".",
            b"",
            b" " + good,
        ):
            assert cache.get(other) is None
        assert cache.get(good) is not None

    def test_the_full_digest_is_kept(self) -> None:
        """Entries are kept under all 256 bits of SHA-256: no two tokens can be made to share one."""
        assert list(filled(1, 10)._entries) == [hashlib.sha256(token(0)).digest()]


class TestBounds:
    def test_the_oldest_goes_first(self) -> None:
        """When it is full, the token that came first makes room."""
        cache = filled(7, 5)
        assert len(cache) == 5
        assert [cache.get(token(number)) is not None for number in range(7)] == [False] * 2 + [True] * 5

    def test_putting_again_takes_no_second_place(self) -> None:
        """A token that is put in twice is kept once and pushes nobody out."""
        cache = filled(5, 5)
        found = cache.get(token(2))
        assert found is not None
        for _ in range(20):
            cache.put(token(2), *found)
        assert all(cache.get(token(number)) for number in range(5))

    def test_default_size(self) -> None:
        """Ten thousand tokens are kept unless it is said otherwise; never none."""
        assert len(ClaimsCache[AccessClaims]()._ring) == 10_000
        for capacity in (0, -1):
            with pytest.raises(ConfigurationError):
                ClaimsCache[AccessClaims](capacity)

    def test_clear(self) -> None:
        """Everything can be forgotten, and the cache fills anew."""
        cache = filled(5, 5)
        cache.clear()
        assert len(cache) == 0
        assert cache.get(token(1)) is None
        found = filled(1, 1).get(token(0))
        assert found is not None
        for number in range(9):
            cache.put(b"%d" % number, *found)
        assert len(cache) == 5

    def test_threads(self) -> None:
        """Many threads that put and get at once leave no more entries than there are places."""
        cache = ClaimsCache[AccessClaims](50)
        claims, kid = verifier(Clock()).verify_with_kid(token())
        problems: list[BaseException] = []

        def work(name: int) -> None:
            try:
                for number in range(2000):
                    cache.put(b"%d-%d" % (name, number % 120), claims, kid)
                    cache.get(b"%d-%d" % (name, number % 100))
            except BaseException as problem:
                problems.append(problem)

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(interval)
        assert problems == []
        assert len(cache) == 50
        assert set(cache._entries) == set(cache._ring)
