"""`python -m colabkit` is the same as the `colabkit` command."""

import sys

from colabkit.cli import main

sys.exit(main())
