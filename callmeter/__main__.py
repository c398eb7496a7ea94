"""`python -m callmeter` is the `callmeter` command."""

import sys

from callmeter.cli import main

if __name__ == "__main__":
    sys.exit(main())
