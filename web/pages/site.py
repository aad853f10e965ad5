"""Puts the pages on the application."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from flask import Flask, url_for
from flask_wtf import CSRFProtect

from web.api import api

# Their views are on the blueprint once they are imported.
from web.pages import checkout, organiser, receipts, refusals, shop  # noqa: F401
from web.pages.blueprint import pages
from web.pages.locales import register_filters
from web.pages.session import keep_sessions
from web.settings import Settings
from web.webhooks import webhooks


def register_pages(app: Flask, settings: Settings) -> None:
    app.config.update(
        SECRET_KEY=settings.secret_key,
        SECRET_KEY_FALLBACKS=settings.former_secret_keys,
        # Flask-WTF knows no fallbacks, but its serializer takes several keys; the last one signs.
        WTF_CSRF_SECRET_KEY=[*reversed(settings.former_secret_keys), settings.secret_key],
        # Who comes early waits for hours with the form open. A token ends with its cookie.
        WTF_CSRF_TIME_LIMIT=None,
        # Or buyers whose browser sends no Referer could not buy; the cookie cannot be planted.
        WTF_CSRF_SSL_STRICT=False,
    )
    keep_sessions(app)
    csrf = CSRFProtect(app)
    # They take a token or a signature, and no cookie.
    csrf.exempt(api)
    csrf.exempt(webhooks)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    register_filters(app)
    app.add_template_global(_static_url(Path(app.static_folder)), "static_url")
    app.register_blueprint(pages)


def _static_url(folder: Path) -> Callable[[str], str]:
    """A function of file name to address, which changes with the file, so that it may be kept."""
    tags = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        for path in folder.iterdir()
        if path.is_file()
    }

    def static_url(name: str) -> str:
        return url_for("static", filename=name, v=tags[name])

    return static_url
