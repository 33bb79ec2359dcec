"""``python -m opto`` is ``opto``."""

import sys

from opto.cli import main

sys.exit(main())
