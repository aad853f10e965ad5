"""The entry point: ``gunicorn wsgi:app`` and ``flask --app wsgi …``."""

import sys

from sidecar.settings import BadSettings
from sidecar.settings import read_settings as read_limiter_settings
from web.settings import read_settings

try:
    settings, limiter_settings = read_settings(), read_limiter_settings()
    # Not at the top: prometheus_client wants its folder when it is imported.
    from web.app import create_app

    app = create_app(settings, limiter_settings)
except BadSettings as error:
    print(f"settings: {error}", file=sys.stderr)
    # gunicorn's WORKER_BOOT_ERROR: at any other code it would start workers on and on.
    sys.exit(3)
