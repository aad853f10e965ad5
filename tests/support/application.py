"""The application in this process, created as in ``wsgi.py``."""

from flask import Flask

from sidecar.settings import read_settings as read_limiter_settings
from web.app import create_app
from web.settings import read_settings

REQUIRED = {"SECRET_KEY": "a secret key of tests", "STRIPE_API_KEY": "sk_test_application"}


def application_with(**settings: str) -> Flask:
    """``settings`` as the environment has them; those that are required need not be given."""
    environ = REQUIRED | settings
    return create_app(read_settings(environ), read_limiter_settings(environ))
