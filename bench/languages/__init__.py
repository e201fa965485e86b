"""Programs that allocate shipments, in each language that has a client."""
