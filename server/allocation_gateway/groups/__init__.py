"""Service groups: which codes exist, by which names they go, and how the gateway came to know it."""
