"""Personal data: what there is about an account, for whoever it is about."""
