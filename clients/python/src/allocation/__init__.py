"""Stubs of the allocation gateway."""
