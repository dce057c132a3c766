"""What is refused and what goes on while a part is down."""
