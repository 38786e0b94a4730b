"""`python -m parlante` is `parlante`."""

import sys

from parlante.cli import main

sys.exit(main())
