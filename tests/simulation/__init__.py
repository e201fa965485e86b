"""The write path in virtual time, against models of everything around it."""
