"""``python -m limen.cli`` is the command ``limen``."""

import sys

from limen.cli.main import main

sys.exit(main())
