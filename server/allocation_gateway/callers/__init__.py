"""Who calls, what they may do, and how much of the gateway they may use."""
