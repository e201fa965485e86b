"""What the suites share: processes that are really run, and upstreams that are really called."""
