"""Registers the pages with the application."""

from collections.abc import Iterable
from functools import partial

from flask import Blueprint, Flask, url_for
from flask_wtf import CSRFProtect

from web.http.locales import register_filters
from web.http.static_files import VERSION

# Importing them registers their views on the blueprint.
from web.pages import (  # noqa: F401
    checkout,
    door,
    events,
    hold_links,
    organiser,
    organiser_booking,
    organiser_bookings,
    receipts,
    refusal_pages,
)
from web.pages.blueprint import pages
from web.pages.session import keep_sessions
from web.settings import Settings


def register_pages(app: Flask, settings: Settings, without_cookies: Iterable[Blueprint]) -> None:
    """``without_cookies`` take a token or a signature: a forged form does nothing there."""
    app.config.update(
        SECRET_KEY=settings.secret_key,
        SECRET_KEY_FALLBACKS=settings.former_secret_keys,
        # Flask-WTF has no fallbacks, but its serializer takes several keys; the last one signs.
        WTF_CSRF_SECRET_KEY=[*reversed(settings.former_secret_keys), settings.secret_key],
        # Buyers who come early wait for hours with the form open. A token ends with its cookie.
        WTF_CSRF_TIME_LIMIT=None,
        # Otherwise buyers whose browser sends no Referer could not buy. The cookie cannot be
        # planted by another site.
        WTF_CSRF_SSL_STRICT=False,
    )
    keep_sessions(app)
    csrf = CSRFProtect(app)
    for blueprint in without_cookies:
        csrf.exempt(blueprint)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    register_filters(app)
    static_url = partial(url_for, "static_files.show_version", version=VERSION)
    app.add_template_global(static_url, "static_url")
    app.register_blueprint(pages)
