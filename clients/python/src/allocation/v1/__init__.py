"""Version 1 of the allocation gateway's API."""
