import socket

import pytest

from limen.core.errors import ConfigurationError, Unavailable
from limen.server.addresses import bind, is_loopback, url_of


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "localhost", "::1", "::ffff:127.0.0.1"])
def test_loopback_addresses(host: str) -> None:
    """What only this machine reaches is a loopback address, also written as IPv6."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "192.0.2.1", "10.0.0.1", "::ffff:192.0.2.1", "0", "a b", "x" * 300]
)
def test_everything_else_is_not(host: str) -> None:
    """What others may reach, or what is no address, is none: «every address» in each spelling too."""
    assert not is_loopback(host)


def test_a_bound_port_does_not_answer_yet() -> None:
    """A bound socket has its port and refuses connections until it is served."""
    listener = bind("127.0.0.1", 0)
    with listener, socket.socket() as caller:
        port = listener.getsockname()[1]
        assert url_of(listener) == f"http://127.0.0.1:{port}"
        assert caller.connect_ex(("127.0.0.1", port)) != 0


def test_a_taken_port_is_unavailable() -> None:
    """A port that somebody listens on is `Unavailable`."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(Unavailable, match="taken"):
            bind("127.0.0.1", other.getsockname()[1])


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "a b"])
def test_an_address_of_another_machine_is_a_mistake(host: str) -> None:
    """An address that this machine does not have is a `ConfigurationError` that names the option."""
    with pytest.raises(ConfigurationError, match="--host"):
        bind(host, 0)


def test_every_address_is_shown_as_one_that_can_be_opened() -> None:
    """The URL of «every address» is one that a browser on this machine can open."""

    class EveryAddress(socket.socket):
        def getsockname(self) -> tuple[str, int]:
            return "0.0.0.0", 8000

    with EveryAddress() as listener:
        assert url_of(listener) == "http://127.0.0.1:8000"
