"""Allocations and de-allocations: made once, read back when they are in doubt, answered by what is known of them."""
