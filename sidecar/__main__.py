"""``python -m sidecar COMMAND [ARGUMENT ...]``; see ``supervisor``."""

import sys

from sidecar.supervisor import main

sys.exit(main(sys.argv[1:]))
