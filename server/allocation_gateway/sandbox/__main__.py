"""``python -m allocation_gateway.sandbox``: the sandbox alone, until it is told to stop."""

import sys

from allocation_gateway.sandbox.command import main

if __name__ == "__main__":
    sys.exit(main())
