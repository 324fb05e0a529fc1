"""`python -m limbeck.cli`, for where the script is not on the path."""

import sys

from limbeck.cli import main

sys.exit(main())
