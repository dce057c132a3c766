"""Sessions: refresh, the state machine behind it, and every way a session ends."""
