"""Servers, and mails on a clock that is turned: those of the tests of faults and of mails."""

from tests.faults.conftest import nursery
from tests.mail.conftest import clock, making, storage

__all__ = ["clock", "making", "nursery", "storage"]
