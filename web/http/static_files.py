"""Style, scripts and icon, where no nginx is in front to serve them.

They are small, so each process has all of them in memory, and they never wait for Flask: a page
brings ten of them.
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
from web.http.responses import ASKED_EACH_TIME, KEPT_FOR_EVER, ApiResponse, encoded_response
from web.utils.encoded import Encoded

FOLDER = Path(__file__).parents[1] / "static"

VERSION_LENGTH = 8
"""Of the hexadecimal version in a static file's address; nginx knows it by its form."""

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
    """Changes with any of them: scripts import one another by names without a version, and an old
    one beside a new one would not work."""
    digest = hashlib.sha256()
    for name, file in files.items():
        digest.update(name.encode() + file.body)
    return digest.hexdigest()[:VERSION_LENGTH]


VERSION = _version_of(_FILES)


def is_static_file(environ: Mapping[str, Any]) -> bool:
    """Whether a request asks for a file that there is, under any version."""
    if environ["REQUEST_METHOD"] != "GET":
        return False
    found = _PATH.fullmatch(environ.get("PATH_INFO", ""))
    return found is not None and found[1] in _FILES


@fast_path.route("GET", "/<version>/<filename>")
def show_version(fast_request: FastRequest, version: str, filename: str) -> ApiResponse:
    """The current file, whatever the version: nginx does the same, and it serves a page of an older
    release better than no file. Browsers cache it if the version is right."""
    return _response(
        fast_request, filename, KEPT_FOR_EVER if version == VERSION else ASKED_EACH_TIME
    )


@fast_path.route("GET", "/<filename>")
def show(fast_request: FastRequest, filename: str) -> ApiResponse:
    return _response(fast_request, filename, ASKED_EACH_TIME)


def _response(fast_request: FastRequest, filename: str, cache_control: str) -> ApiResponse:
    file = _FILES.get(filename)
    if file is None:
        raise NotFound
    response = encoded_response(file, fast_request.environ, file.tag, cache_control)
    response.headers.append(("X-Content-Type-Options", "nosniff"))
    return response
