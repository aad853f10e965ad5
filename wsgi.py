"""The entry point: ``gunicorn wsgi:app`` and ``flask --app wsgi …``."""

import sys

from sidecar.settings import BadSettings
from sidecar.settings import read_settings as read_limiter_settings
from web.app import create_app
from web.settings import read_settings

try:
    app = create_app(read_settings(), read_limiter_settings())
except BadSettings as error:
    sys.exit(f"settings: {error}")
