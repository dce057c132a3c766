"""Limen: the one object that an application holds. It puts settings, store, features, strategies and guard together."""

from limen.wiring.gate import Limen

__all__ = ["Limen"]
