"""What lies in Valkey of a session: one text under one key, and the scripts that change it.

It is what changes when a session is used: the hashes of its secrets, and its times. All times are milliseconds since
1970 UTC by the database's clock, which is handed to the scripts: what stamps a session, what stamps its tokens and what
stamps the list of ended sessions is then one clock, and Valkey's own is asked for nothing.
"""

from hashlib import sha1, sha256
from typing import Final, NamedTuple

MARGIN_MS: Final = 3_600_000
"""A key outlives its session by an hour (milliseconds): what Valkey forgets by its own clock is over by any."""

REFRESH: Final = "r1"
COOKIE: Final = "c1"
"""The first word of a text: the kind of the session, and the version of this form."""


class State(NamedTuple):
    """A session as Valkey has it."""

    word: str
    generation: int
    token_hash: bytes
    parent_hash: bytes | None
    nonce: bytes | None
    kid: str
    rotated_at: int
    idle_until: int
    ends_at: int

    def text(self) -> str:
        """Return it as it is kept."""
        parent, nonce = (value.hex() if value else "-" for value in (self.parent_hash, self.nonce))
        return (
            f"{self.word} {self.generation} {self.token_hash.hex()} {parent} {nonce} {self.kid}"
            f" {self.rotated_at} {self.idle_until} {self.ends_at}"
        )

    def __repr__(self) -> str:
        return f"State(generation={self.generation})"


def state_of(text: bytes | None) -> State | None:
    """Read what is kept; None for nothing, and for what another version wrote."""
    if text is None:
        return None
    try:
        word, generation, token_hash, parent, nonce, kid, *times = text.decode("ascii").split(" ")
        rotated_at, idle_until, ends_at = map(int, times)
        if word not in {REFRESH, COOKIE}:
            return None
        return State(
            word,
            int(generation),
            bytes.fromhex(token_hash),
            None if parent == "-" else bytes.fromhex(parent),
            None if nonce == "-" else bytes.fromhex(nonce),
            kid,
            rotated_at,
            idle_until,
            ends_at,
        )
    except ValueError:
        return None


def key_of(sid: str) -> str:
    """Return the key of a session. What is in braces decides where a cluster keeps it."""
    return f"limen:session:{{{sid}}}"


def sealed(token_hash: bytes) -> bytes:
    """Return what the database's row has in place of the hash, where sessions are in Valkey.

    A row of the one store opens nothing in the other: nothing goes on when the setting is changed.
    """
    return sha256(b"limen/valkey/1\0" + token_hash).digest()


class Script:
    """A script that Valkey runs on one key, as one act (`EVALSHA`).

    Attributes:
        text: its source.
        sha: the name under which Valkey remembers it.
    """

    __slots__ = ("sha", "text")

    def __init__(self, body: str) -> None:
        self.text = _COMMON + body
        self.sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest()


# Answers nothing (a nil) where the session is not there, is of the other kind, or its time is over.
# f: word, generation, hash, parent's hash, nonce, kid, rotated_at, idle_until, ends_at
_COMMON: Final = f"""
local function number(x) return string.format('%.0f', x) end
local function living(word, now)
  local text = redis.call('GET', KEYS[1])
  if not text then return nil end
  local f = {{}}
  for each in string.gmatch(text, '[^ ]+') do f[#f + 1] = each end
  if #f ~= 9 or f[1] ~= word or now >= tonumber(f[8]) or now >= tonumber(f[9]) then return nil end
  return f
end
local function keep(f, now)
  local text = table.concat(f, ' ')
  redis.call('SET', KEYS[1], text, 'PX', number(tonumber(f[8]) - now + {MARGIN_MS}))
  return text
end
"""

ROTATE: Final = Script(f"""
local now = tonumber(ARGV[1])
local f = living('{REFRESH}', now)
if not f or f[2] ~= ARGV[3] or f[3] ~= ARGV[4] then return false end
f[2] = number(tonumber(f[2]) + 1)
f[4], f[3], f[5], f[6] = f[3], ARGV[5], ARGV[6], ARGV[7]
f[7] = ARGV[1]
f[8] = number(math.min(now + tonumber(ARGV[2]), tonumber(f[9])))
return keep(f, now)
""")
"""Arguments: now, the time to live unused; generation and hash as presented; hash, nonce and kid of the successor."""

RENEW: Final = Script(f"""
local now = tonumber(ARGV[1])
local f = living('{COOKIE}', now)
if not f or f[3] ~= ARGV[3] then return false end
f[3], f[7] = ARGV[4], ARGV[1]
f[8] = number(math.min(now + tonumber(ARGV[2]), tonumber(f[9])))
return keep(f, now)
""")
"""Arguments: now, the time to live unused; the hash as presented, and the one that takes its place."""

TOUCH: Final = Script(f"""
local now = tonumber(ARGV[1])
local f = living('{COOKIE}', now)
if not f or f[3] ~= ARGV[3] then return false end
local idle, ends = tonumber(f[8]), tonumber(f[9])
local wanted = now + tonumber(ARGV[2])
if idle >= ends or idle > wanted - tonumber(ARGV[4]) then return false end
f[7], f[8] = ARGV[1], number(math.min(wanted, ends))
return keep(f, now)
""")
"""Arguments: now, the time to live unused; the hash as presented; how far the end must move for it to be moved."""
