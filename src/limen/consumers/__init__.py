"""The guard for handlers of messages: ``from limen.consumers import Consumer, Message, roles``, and the others.

Adapters: `limen.consumers.sqs` and `limen.consumers.kinesis`. No web framework is imported.
"""

from limen.consumers.consumer import Consumer
from limen.consumers.declarations import live, once, permissions, policy, public, roles
from limen.consumers.message import GuardedMessage, Message, Outcome, Verdict

__all__ = [
    "Consumer",
    "GuardedMessage",
    "Message",
    "Outcome",
    "Verdict",
    "live",
    "once",
    "permissions",
    "policy",
    "public",
    "roles",
]
