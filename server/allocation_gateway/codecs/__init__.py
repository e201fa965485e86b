"""Translation between upstream's JSON and the messages of `allocation.v1`: pure functions, no I/O."""
