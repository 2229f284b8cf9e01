"""`python -m reversal_curse VERB`: see `reversal_curse.cli`."""

import sys

from reversal_curse.cli import main

sys.exit(main())
