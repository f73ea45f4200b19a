"""`python -m holdfast`: the same command, for who starts it without its script."""

import sys

from holdfast.cli import main

sys.exit(main())
