"""Whether 32 bytes are a sound public point of Ed25519 (RFC 8032, sections 5.1.3 and 5.1.7).

The cryptography library takes any 32 bytes as a public key and finds out later, or never: under a point of small order
a signature can be made that fits every message. Keys are checked once, when they are loaded, so plain integers will do.
"""

from typing import Final

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_SQRT_OF_MINUS_ONE: Final = pow(2, (_P - 1) // 4, _P)


def is_sound_ed25519_point(encoded: bytes) -> bool:
    """Tell whether the bytes are the canonical encoding of a point on the curve whose order is not 1, 2, 4 or 8."""
    point = _decode(encoded)
    if point is None:
        return False
    for _ in range(3):  # times eight, the cofactor: a point of small order ends at the neutral element
        point = _double(point)
    return point != (0, 1)


def _decode(encoded: bytes) -> tuple[int, int] | None:
    if len(encoded) != 32:
        return None
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if x * x % _P != square:
        x = x * _SQRT_OF_MINUS_ONE % _P
    if x * x % _P != square or (x == 0 and sign):
        return None
    return (x if x & 1 == sign else _P - x), y


def _double(point: tuple[int, int]) -> tuple[int, int]:
    x, y = point
    product = _D * x * x * y * y
    return (
        2 * x * y * pow(1 + product, -1, _P) % _P,
        (y * y + x * x) * pow(1 - product, -1, _P) % _P,
    )
