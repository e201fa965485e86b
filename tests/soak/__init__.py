"""Real clients in several languages, for a long time, through proxies and restarts: `make soak`."""
