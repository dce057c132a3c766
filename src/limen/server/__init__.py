"""The stand-alone server, and the demo with the orders example."""
