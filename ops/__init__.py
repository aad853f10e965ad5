"""The servers and tools that run beside the application. People start these modules by hand with
any ``python``; if that lacks our packages, they exit with one line instead of a traceback."""

import sys
from importlib.util import find_spec

_missing = [package for package in ("jinja2", "msgspec") if find_spec(package) is None]
if _missing:
    sys.exit(
        f"{sys.executable} does not have the packages of requirements.txt ({', '.join(_missing)});"
        " use the Python that has them, such as .venv/bin/python"
    )
