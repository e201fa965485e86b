"""Other gateways that do the same, as a team would put them together."""
