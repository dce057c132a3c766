"""How a state machine is tried: the same sequences each time, as many as are asked for."""

from hypothesis import HealthCheck, settings


def repeatable(*, sequences: int, steps: int) -> settings:
    """Return settings under which a machine makes the same sequences in each run, however slow the machine is."""
    return settings(
        max_examples=sequences,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
