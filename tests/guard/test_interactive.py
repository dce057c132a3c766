"""What takes a person who has logged in, and what counts as one."""

import pytest

from limen.core.principal import ANONYMOUS, INTERACTIVE_METHODS, Authentication, Principal, PrincipalKind
from limen.guard.decisions import decide
from limen.guard.requirements import AUTHENTICATED, Requirement

INTERACTIVE = Requirement(interactive=True)


def somebody(*methods: str, kind: PrincipalKind = PrincipalKind.PERSON) -> Principal:
    """Return a principal that proved who it is by these methods."""
    return Principal("sub", kind, authentication=Authentication(methods, 0))


@pytest.mark.parametrize("method", sorted(INTERACTIVE_METHODS))
def test_a_person_who_logged_in_passes(method: str) -> None:
    """Each method by which a person proves to be there, alone or beside others."""
    assert decide(INTERACTIVE, somebody(method)).allowed
    assert decide(INTERACTIVE, somebody("rba", method)).allowed


@pytest.mark.parametrize("methods", [(), ("api_key",), ("swk",), ("message",), ("PWD",), ("",), ("pop", "geo")])
def test_whatever_else_does_not(methods: tuple[str, ...]) -> None:
    """No method, an API key, a certificate, a message, or one that nobody has heard of: 401 `step_up_required`."""
    decision = decide(INTERACTIVE, somebody(*methods))
    assert (decision.allowed, decision.code) == (False, "step_up_required")
    assert decide(AUTHENTICATED, somebody(*methods)).allowed


def test_a_service_is_no_person() -> None:
    """Whatever it proved; nor is somebody of whom nothing is known, and nobody is asked to log in first."""
    assert decide(INTERACTIVE, somebody("pwd", kind=PrincipalKind.SERVICE)).code == "step_up_required"
    assert decide(INTERACTIVE, Principal("sub", PrincipalKind.PERSON)).code == "step_up_required"
    assert decide(INTERACTIVE, ANONYMOUS).code == "credential_missing"


def test_it_stacks() -> None:
    """Beside another requirement it stays, from whichever side it comes."""
    other = Requirement(live=True)
    assert (INTERACTIVE & other).interactive
    assert (other & INTERACTIVE).interactive
    assert not (other & other).interactive
