"""Whether an instance of a mapped class has a row: loaded only where such an instance lacks an attribute."""

from sqlalchemy import inspect


def has_row(instance: object) -> bool:
    """Tell whether the instance stands for a row: of a new one, what was not set is None, and not «not loaded»."""
    state = inspect(instance, raiseerr=True)
    return bool(state.has_identity)
