"""`python -m autoscaler`: the same as the command `autoscaler`."""

import sys

from autoscaler.cli import main

if __name__ == "__main__":
    sys.exit(main())
