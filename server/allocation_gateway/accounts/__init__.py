"""The accounts at upstream that this gateway serves: what each has of its own, and which of them a call is for."""
