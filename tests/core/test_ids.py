"""Identifiers."""

import os
import threading
import time
from uuid import RFC_4122, UUID

from limen.core.ids import is_uuid7, random_id_bytes, uuid7


def test_an_id_is_a_uuid7_of_now() -> None:
    """Version, variant and time are those of RFC 9562, section 5.7."""
    before = time.time_ns() // 1_000_000
    made = [UUID(uuid7()) for _ in range(100)]
    after = time.time_ns() // 1_000_000
    assert all(each.version == 7 and each.variant == RFC_4122 for each in made)
    assert all(before <= each.int >> 80 <= after for each in made)


def test_ids_do_not_repeat() -> None:
    """74 random bits: ten thousand ids made at once are ten thousand, and every random bit is used."""
    made = [UUID(uuid7()).int for _ in range(10_000)]
    assert len(set(made)) == 10_000
    random_bits = ((1 << 80) - 1) & ~(0xF << 76) & ~(0b11 << 62)
    seen_one, seen_zero = 0, 0
    for value in made:
        seen_one |= value
        seen_zero |= ~value
    assert seen_one & seen_zero & random_bits == random_bits


def test_only_the_canonical_form_is_an_id() -> None:
    """Upper case, braces, other versions and trailing text are refused."""
    good = uuid7()
    assert is_uuid7(good)
    bad = [good.upper(), f"{{{good}}}", good + "\n", good.replace("-", ""), good[:14] + "4" + good[15:], "", good[:-1]]
    assert not any(is_uuid7(each) for each in bad)


def test_threads_do_not_share_random_bytes() -> None:
    """Threads that take at the same time never get the same bytes."""
    taken: list[bytes] = []

    def take() -> None:
        taken.extend([random_id_bytes() for _ in range(5_000)])

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(taken)) == len(taken) == 20_000
    assert {len(each) for each in taken} == {16}


def test_processes_do_not_share_random_bytes() -> None:
    """A forked process takes none of the bytes that its parent had ready."""
    random_id_bytes()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b"".join(random_id_bytes() for _ in range(255)))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answers:
        told = answers.read()
    os.waitpid(child, 0)
    of_child = {told[at : at + 16] for at in range(0, len(told), 16)}
    assert len(of_child) == 255
    assert of_child.isdisjoint({random_id_bytes() for _ in range(255)})
