"""The side that faces the REST APIs: HTTP out, and what comes back."""
