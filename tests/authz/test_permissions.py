"""The names of permissions."""

import pytest

from limen.authz import is_permission_name, permission_name
from limen.core.errors import ConfigurationError


@pytest.mark.parametrize("name", ["order:approve", "order:line:edit", "a.b-c_d:e1", "Order:Approve"])
def test_what_is_a_permission(name: str) -> None:
    """Two to four parts, each beginning with a letter."""
    assert is_permission_name(name)
    assert permission_name(name) == name


@pytest.mark.parametrize(
    "name", ["order", "order:", "order:*", "order:approve\n", " order:approve", "a:b:c:d:e", "1:2"]
)
def test_what_is_none(name: str) -> None:
    """Wildcards, blanks, line ends, too few or too many parts."""
    assert not is_permission_name(name)
    with pytest.raises(ConfigurationError, match="resource:action"):
        permission_name(name)
