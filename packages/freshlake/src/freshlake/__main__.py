"""`python -m freshlake` is the command `freshlake`."""

import sys

from freshlake.cli import main

if __name__ == "__main__":
    sys.exit(main())
