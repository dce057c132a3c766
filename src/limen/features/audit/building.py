"""The sinks of the trail put together."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from limen.authn.outbound import Outbound
from limen.core.clock import Clock
from limen.core.errors import ConfigurationError
from limen.crypto.key_files import key_of_pem
from limen.crypto.keys import SigningKey
from limen.features.audit.handing_on import HandingOn, TrailSinks
from limen.features.audit.service import AuditService
from limen.features.audit.sinks import FileSink, Sink, file_of
from limen.features.audit.store import AuditStore, SinkStore


def build_audit(
    store: AuditStore, states: SinkStore, secrets: Sequence[str], key_files: Sequence[Path]
) -> AuditService:
    """Put together what seals.

    Args:
        store: where the trail lies.
        states: how far sinks have been handed it.
        secrets: the texts of ``LIMEN_DATA_SECRETS``.
        key_files: those of ``LIMEN_AUDIT_KEY_FILES``: the first signs checkpoints, every one verifies.

    Raises:
        ConfigurationError: a weak secret, or a file that holds no private key.
    """
    return AuditService(store, secrets, keys=[_key_in(path) for path in key_files], sinks=states)


def build_sinks(
    urls: Sequence[str],
    secrets: Sequence[str],
    *,
    audit: AuditService,
    trail: AuditStore,
    states: SinkStore,
    outbound: Outbound,
    clock: Clock,
) -> TrailSinks:
    """Put the sinks together, one for each address.

    Args:
        urls: the addresses of ``LIMEN_AUDIT_SINKS``.
        secrets: the texts of ``LIMEN_AUDIT_SINK_SECRETS``.
        audit: seals what is handed on, and signs checkpoints.
        trail: where it lies.
        states: how far sinks are.
        outbound: calls those at https addresses.
        clock: the time in seconds since 1970 UTC.

    Raises:
        ConfigurationError: an address that names no sink, or two that name one, or nothing that seals.
    """
    if urls and not audit.seals:
        raise ConfigurationError("LIMEN_AUDIT_SINKS hands on what is sealed, which takes LIMEN_DATA_SECRETS.")
    sinks = [_sink(url, secrets, outbound, clock) for url in urls]
    if len({sink.name for sink in sinks}) != len(sinks):
        raise ConfigurationError("LIMEN_AUDIT_SINKS names a sink twice.")
    return TrailSinks([HandingOn(sink, trail, states, audit.checkpoint) for sink in sinks], states)


def _key_in(path: Path) -> SigningKey:
    try:
        return key_of_pem(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"A file of LIMEN_AUDIT_KEY_FILES cannot be read: {error.strerror}.") from None


def _sink(url: str, secrets: Sequence[str], outbound: Outbound, clock: Clock) -> Sink:
    scheme = urlsplit(url).scheme
    if scheme == "file":
        return FileSink(file_of(url))
    # Loaded by those who use them.
    if scheme.startswith("syslog+"):
        from limen.features.audit.syslog import SyslogSink

        return SyslogSink(url)
    if scheme in {"https", "http"}:
        from limen.features.audit.webhook import WebhookSink

        return WebhookSink(url, secrets, outbound=outbound, clock=clock)
    raise ConfigurationError(
        "A sink of LIMEN_AUDIT_SINKS is file:///…, syslog+tls://…, syslog+tcp://…, syslog+udp://… or https://…"
    )
