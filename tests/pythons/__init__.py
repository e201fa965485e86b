"""The tests on other Pythons than that of .venv: `make test-pythons`."""
