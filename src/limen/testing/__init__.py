"""For those who use limen: act as somebody, turn the clock, hold a store of your own against the contract.

* `acting_as`: requests inside the block are somebody's, without a login.
* `TurnableClock`: for ``Limen(settings, clock=…)``: tokens and sessions grow old when you say so.
* `limen.testing.policies`: a table of who may do what, and the proof that lists agree with the check.
* The contract suites of the stores are in `limen.testing.contracts`; they need pytest.

Nothing of limen imports this package.
"""

from limen.testing.acting import acting_as
from limen.testing.clock import TurnableClock

__all__ = ["TurnableClock", "acting_as"]
