"""Puts the pages on the application."""

import hashlib
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from flask import Blueprint, Flask, Response, current_app, url_for
from flask_wtf import CSRFProtect

from web.answers import KEPT_FOR_EVER

# Their views are on the blueprint once they are imported.
from web.pages import checkout, hold_links, organiser, receipts, refusal_pages, shop  # noqa: F401
from web.pages.blueprint import pages
from web.pages.locales import register_filters
from web.pages.session import keep_sessions
from web.settings import Settings

VERSION_LENGTH = 8
"""Of the hexadecimal version in a static file's address; nginx knows it by its form."""


def register_pages(app: Flask, settings: Settings, without_cookies: Iterable[Blueprint]) -> None:
    """``without_cookies`` take a token or a signature: a forged form does nothing there."""
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
    for blueprint in without_cookies:
        csrf.exempt(blueprint)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    register_filters(app)
    version = _version_of(Path(app.static_folder))
    app.add_template_global(partial(url_for, "static_version", version=version), "static_url")
    _serve_static_files(app, version)
    app.register_blueprint(pages)


def _serve_static_files(app: Flask, current: str) -> None:
    @app.get("/static/<version>/<filename>")
    def static_version(version: str, filename: str) -> Response:
        """The file of now, whatever the version: nginx does the same, and a page of before a
        release is better served with it than without. Kept by browsers if it is the right one:
        without nginx each file counts as a request of its buyer."""
        response = current_app.send_static_file(filename)
        if version == current:
            response.headers["Cache-Control"] = KEPT_FOR_EVER
        return response


def _version_of(folder: Path) -> str:
    """Changes with any of the files: scripts import one another by names without a version, and an
    old one beside a new one would not work."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:VERSION_LENGTH]
