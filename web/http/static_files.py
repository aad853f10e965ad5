"""Style, scripts and icon, for when there is no nginx in front to serve them.

They are small, so each process keeps all of them in memory, and they do not go through Flask: a
page loads ten of them.
"""

import hashlib
import mimetypes
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Blueprint
from werkzeug.exceptions import NotFound

from web.http.fast_path import FastPath, FastRequest
from web.http.responses import IMMUTABLE, REVALIDATED, ApiResponse, encoded_response
from web.utils.encoded import Encoded

FOLDER = Path(__file__).parents[1] / "static"

VERSION_LENGTH = 8
"""Of the hexadecimal version in a static file's address; nginx recognises it by its form."""

_PATH = re.compile(r"/static/(?:[^/]+/)?([^/]+)")

static_files = Blueprint("static_files", __name__, url_prefix="/static")
fast_path = FastPath(static_files)


class _File(Encoded):
    def __init__(self, path: Path):
        media_type, _ = mimetypes.guess_type(path.name)
        text = "" if media_type == "image/svg+xml" else "; charset=utf-8"
        super().__init__(path.read_bytes(), f"{media_type}{text}")
        self.tag = hashlib.sha256(self.body).hexdigest()[:VERSION_LENGTH]


_FILES = {path.name: _File(path) for path in sorted(FOLDER.iterdir())}


def _version_of(files: Mapping[str, _File]) -> str:
    """Changes when any file does: scripts import each other by names without a version, and an old
    one with a new one would not work."""
    digest = hashlib.sha256()
    for name, file in files.items():
        digest.update(name.encode() + file.body)
    return digest.hexdigest()[:VERSION_LENGTH]


VERSION = _version_of(_FILES)


def is_static_file(environ: Mapping[str, Any]) -> bool:
    """Whether a request is for an existing file, under any version."""
    if environ["REQUEST_METHOD"] != "GET":
        return False
    found = _PATH.fullmatch(environ.get("PATH_INFO", ""))
    return found is not None and found[1] in _FILES


@fast_path.route("GET", "/<version>/<filename>")
def show_version(fast_request: FastRequest, version: str, filename: str) -> ApiResponse:
    """The current file, whatever the version: nginx does the same, and for a page of an older
    release it is better than no file. Browsers cache it if the version is right."""
    return _response(fast_request, filename, IMMUTABLE if version == VERSION else REVALIDATED)


@fast_path.route("GET", "/<filename>")
def show(fast_request: FastRequest, filename: str) -> ApiResponse:
    return _response(fast_request, filename, REVALIDATED)


def _response(fast_request: FastRequest, filename: str, cache_control: str) -> ApiResponse:
    file = _FILES.get(filename)
    if file is None:
        raise NotFound
    response = encoded_response(file, fast_request.environ, file.tag, cache_control)
    response.headers.append(("X-Content-Type-Options", "nosniff"))
    return response
