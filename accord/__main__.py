"""`python -m accord` is the command `accord`."""

import sys

from accord.cli import main

sys.exit(main())
