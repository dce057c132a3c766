"""What a route asks of whoever calls it, as a plain value."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

from limen.authz.permissions import permission_name
from limen.authz.roles import role_name
from limen.core.errors import ConfigurationError
from limen.guard.limits import LimitKey, RouteLimit, limits_of
from limen.guard.own_code import After, Before, Check, Intercept, checked_callable

_T = TypeVar("_T")

Names = tuple[str, ...]
"""Names in the order in which they were written, so that a refusal lists them as the code does."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the policies: whether whoever calls may do this, to that.

    Attributes:
        action: ``resource:action``.
        load: what brings the resource that is acted on; None where there is none, and only who calls, and when, decide.
        hide: a refusal looks as if there were no such thing.
    """

    action: str
    load: Callable[..., Any] | None = None
    hide: bool = False


@dataclass(frozen=True, slots=True)
class Requirement:
    """What must hold before a handler may run. Without anything stated: somebody must be authenticated.

    Attributes:
        public: nobody needs to be authenticated. It never stands beside a restriction.
        live: the account and its roles are asked for again, in the store, before the handler runs.
        interactive: a person has to have proved to be there; an API key, a service or a message does not do.
        client_certificate: whoever calls is proved by the client certificate of the connection.
        roles_any: sets of roles; of each set at least one must be held.
        permissions_all: permissions that must all be held.
        permissions_any: sets of permissions; of each set at least one must be held.
        checks: functions of the application's own, asked in this order once all the others hold.
        intercepts: functions of the application's own around the handler, the outermost first.
        questions: what the policies have to allow; those with a resource are decided once it is there.
        limits: how often it may be called; they stand beside `public`, too.
    """

    public: bool = False
    live: bool = False
    interactive: bool = False
    client_certificate: bool = False
    roles_any: tuple[Names, ...] = ()
    permissions_all: Names = ()
    permissions_any: tuple[Names, ...] = ()
    checks: tuple[Check, ...] = ()
    intercepts: tuple[Intercept, ...] = ()
    questions: tuple[Question, ...] = ()
    limits: tuple[RouteLimit, ...] = ()

    @classmethod
    def of_limits(cls, rates: tuple[str, ...], key: LimitKey | None, name: str | None) -> Self:
        """Limit how often it may be called.

        Raises:
            ConfigurationError: see `limits_of`.
        """
        return cls(limits=limits_of(rates, key, name))

    @classmethod
    def of_question(cls, action: str, *, load: Callable[..., Any] | None = None, hide: bool = False) -> Self:
        """Require that the policies allow an action.

        Raises:
            ConfigurationError: the action is malformed, or what is to load its resource is no function.
        """
        if load is not None and not callable(load):
            raise ConfigurationError(f"policy(load=…) takes a function, not {load!r}")
        return cls(questions=(Question(permission_name(action), load, hide),))

    @classmethod
    def of_check(cls, check: Check) -> Self:
        """Require that a function of the application's own says yes.

        Raises:
            ConfigurationError: it cannot be called with a principal and a request.
        """
        return cls(checks=(checked_callable("guard()", check, 2),))

    @classmethod
    def of_intercept(cls, before: Before | None, after: After | None) -> Self:
        """Require that functions of the application's own run around the handler.

        Raises:
            ConfigurationError: there is none, or one cannot be called with what it is given.
        """
        if before is None and after is None:
            raise ConfigurationError("intercept() takes before=, after=, or both")
        if before is not None:
            checked_callable("intercept(before=…)", before, 2)
        if after is not None:
            checked_callable("intercept(after=…)", after, 3)
        return cls(intercepts=(Intercept(before, after),))

    @classmethod
    def of_roles(cls, names: Iterable[str]) -> Self:
        """Require one of the roles.

        Raises:
            ConfigurationError: there is no name, or one is malformed.
        """
        return cls(roles_any=(_listed("roles", (role_name(name) for name in names)),))

    @classmethod
    def of_permissions(cls, names: Iterable[str]) -> Self:
        """Require all of the permissions.

        Raises:
            ConfigurationError: there is no name, or one is malformed.
        """
        return cls(permissions_all=_listed("permissions", (permission_name(name) for name in names)))

    @classmethod
    def of_any_permission(cls, names: Iterable[str]) -> Self:
        """Require one of the permissions.

        Raises:
            ConfigurationError: there is no name, or one is malformed.
        """
        return cls(permissions_any=(_listed("permissions.any", (permission_name(name) for name in names)),))

    def __and__(self, other: "Requirement") -> "Requirement":
        """Both must hold; what is public for only one of the two is not public."""
        return Requirement(
            public=self.public and other.public,
            live=self.live or other.live,
            interactive=self.interactive or other.interactive,
            client_certificate=self.client_certificate or other.client_certificate,
            roles_any=_merged(self.roles_any, other.roles_any),
            permissions_all=_merged(self.permissions_all, other.permissions_all),
            permissions_any=_merged(self.permissions_any, other.permissions_any),
            checks=_merged(self.checks, other.checks),
            intercepts=_merged(self.intercepts, other.intercepts),
            questions=_merged(self.questions, other.questions),
            limits=_merged(self.limits, other.limits),
        )

    def limited(self, limits: tuple[RouteLimit, ...]) -> "Requirement":
        """Return the same with further limits."""
        return replace(self, limits=_merged(self.limits, limits)) if limits else self

    def split(self) -> tuple["Requirement | None", tuple[RouteLimit, ...]]:
        """Return what must hold, None where nothing is said of that, and how often it may be called."""
        if not self.limits:
            return self, ()
        rest = replace(self, limits=())
        return (None if rest == AUTHENTICATED else rest), self.limits

    @property
    def beside(self) -> "Requirement":
        """What is asked where a function or a dependency states this beside its route: limits alone restrict nobody."""
        restriction, limits = self.split()
        return PUBLIC.limited(limits) if restriction is None else self

    @property
    def is_asked(self) -> bool:
        """Tell whether something has to be awaited before it is known whether it holds."""
        return self.live or bool(self.checks or self.intercepts or self.questions or self.limits)

    @property
    def is_by_names(self) -> bool:
        """Tell whether roles and permissions alone decide, so that what met it once meets it again with the same names.

        It compares with what has nothing but names, so whatever else a requirement learns to ask for is not forgotten.
        """
        return self == Requirement(
            public=self.public,
            roles_any=self.roles_any,
            permissions_all=self.permissions_all,
            permissions_any=self.permissions_any,
        )

    @property
    def loading(self) -> tuple[Question, ...]:
        """The questions about a resource, which somebody has to load before they can be decided."""
        return tuple(question for question in self.questions if question.load is not None)

    @property
    def role_names(self) -> frozenset[str]:
        """Every role that is named."""
        return frozenset(name for names in self.roles_any for name in names)

    @property
    def permission_names(self) -> frozenset[str]:
        """Every permission that is named."""
        return frozenset(self.permissions_all).union(*self.permissions_any)


def _listed(what: str, names: Iterable[str]) -> Names:
    listed = tuple(dict.fromkeys(names))
    if not listed:
        raise ConfigurationError(f"{what}() names nothing: an empty list would allow either everybody or nobody")
    return listed


def _merged(first: tuple[_T, ...], second: tuple[_T, ...]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys((*first, *second)))


AUTHENTICATED = Requirement()
"""Somebody must be authenticated: what holds where nothing is stated."""

PUBLIC = Requirement(public=True)
"""Anybody may call."""
