"""What browsers do, by a real one."""
