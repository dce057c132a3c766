"""Hands the trail on by HTTP, signed as Standard Webhooks has it, so that receivers verify it with what they have.

``webhook-signature: v1,base64(HMAC-SHA-256(secret, id "." timestamp "." body))``, one for each secret, with a space
between them. A receiver refuses a timestamp that is minutes old, and passes over an id that it has taken: what somebody
has overheard cannot be sent again. https://github.com/standard-webhooks/standard-webhooks, specification 1.0.0.
"""

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Final

from limen.authn.outbound import Outbound, OutboundError, require_callable_url
from limen.core.clock import Clock
from limen.core.errors import ConfigurationError
from limen.features.audit.sinks import Batch, SinkFailed, sink_name

PREFIX: Final = "whsec_"
_LEAST_BYTES: Final = 24  # what the specification allows: 24 to 64
_MOST_BYTES: Final = 64


class WebhookSink:
    """Posts each batch as one JSON object: ``{"type": "limen.trail", "records": [...]}``.

    Args:
        url: an https address, or http at the loopback.
        secrets: what signs, as ``whsec_`` and base64; a receiver may know any one of them.
        outbound: calls.
        clock: the time in seconds since 1970 UTC.

    Raises:
        ConfigurationError: an address that is not called, or no secret.
    """

    def __init__(self, url: str, secrets: Sequence[str], *, outbound: Outbound, clock: Clock) -> None:
        require_callable_url(url, "A sink of LIMEN_AUDIT_SINKS")
        if not secrets:
            raise ConfigurationError("A sink at an https address is signed: set LIMEN_AUDIT_SINK_SECRETS.")
        self.name = sink_name(url)
        self._url = url
        self._keys = [key_of(text) for text in secrets]
        self._outbound = outbound
        self._clock = clock

    async def send(self, batch: Batch) -> None:
        """Post the batch; return once the receiver has answered that it took it."""
        lines = ",".join(item.line for item in batch.items)
        body = f'{{"type":"limen.trail","records":[{lines}]}}'.encode("ascii")
        stamp = str(int(self._clock()))
        headers = {
            "webhook-id": batch.name,
            "webhook-timestamp": stamp,
            "webhook-signature": " ".join(signature(key, batch.name, stamp, body) for key in self._keys),
        }
        try:
            status = await self._outbound.post(self._url, body, media_type="application/json", headers=headers)
        except OutboundError as error:
            raise SinkFailed(f"the receiver was not reached ({error.code})") from None
        if not 200 <= status < 300:
            raise SinkFailed(f"the receiver answered {status}")


def key_of(text: str) -> bytes:
    """Return the key of a secret.

    Raises:
        ConfigurationError: it is none, or is too short.
    """
    try:
        key = b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(PREFIX) or not _LEAST_BYTES <= len(key) <= _MOST_BYTES:
        raise ConfigurationError(
            "A secret of LIMEN_AUDIT_SINK_SECRETS is whsec_ and 24 to 64 random bytes in base64, as of"
            " openssl rand -base64 32"
        )
    return key


def signature(key: bytes, name: str, stamp: str, body: bytes) -> str:
    """Return what stands in ``webhook-signature`` for one key."""
    return "v1," + b64encode(hmac.digest(key, f"{name}.{stamp}.".encode() + body, "sha256")).decode("ascii")
