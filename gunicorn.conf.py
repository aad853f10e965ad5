"""gunicorn's settings. Runs in the master, before gevent has patched anything: import nothing that
keeps what gevent patches. The settings do not, and gunicorn's own modules are there already."""

import gc
import logging
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from gunicorn.arbiter import Arbiter

from sidecar.settings import BadSettings
from web.settings import WORKER_CLASSES, read_settings

try:
    settings = read_settings()
except BadSettings as error:
    sys.exit(f"settings: {error}")

if settings.web_socket:
    bind = f"unix:{settings.web_socket}"
    # Who connects here may say for which client: nginx, as the same user or of the same group.
    # By default everybody on the machine may.
    umask = 0o007
else:
    bind = f"{settings.web_host}:{settings.port}"
workers = settings.web_concurrency
worker_class = WORKER_CLASSES[settings.web_worker_class]

# A purchase mostly waits, as one greenlet of some ten kilobytes; a thousand of them fit beside the
# application in a small dyno. Who comes after that waits in the kernel's queue (backlog), which
# costs nothing.
worker_connections = 1000
backlog = 2048

# Seconds without a sign of life from a worker's event loop before it is killed. Not the length of
# a request: one that waits does not stop the loop.
timeout = 30
# Seconds that a worker has to finish its requests; platforms send SIGKILL 30 s after SIGTERM.
graceful_timeout = 25
# Longer than nginx keeps an idle connection (ops/nginx/render.py), or a payment now and then meets
# a connection that gunicorn is closing. At a stop our worker ends idle connections after
# four seconds; gunicorn's own waits for them, so this must be shorter than graceful_timeout.
keepalive = 15

# nginx in front takes lines of 16 KiB, so that the application can say itself what is wrong with
# an Idempotency-Key of 10,000 characters. Our worker bounds the address by the same number.
limit_request_field_size = 16 * 1024
limit_request_fields = 100
# Of gunicorn's own worker only, and the most that it has. The default is half of it.
limit_request_line = 8190

# gunicorn believes no header about client or scheme; by default it believes loopback. Whose
# X-Forwarded-For counts is decided in one place, TRUSTED_PROXIES.
forwarded_allow_ips = ""

# By default a Unix socket in $HOME, shared by all gunicorns of one user.
control_socket_disable = True

# Workers touch a file as their sign of life; on a slow disk that can block the event loop.
if Path("/dev/shm").is_dir():
    worker_tmp_dir = "/dev/shm"

# nginx writes the access log, with the client's address.
accesslog = None


def _own_metrics_prefix() -> str:
    return f"tickets-metrics-{os.getpid()}-"


def _hide_addresses(record: logging.LogRecord) -> bool:
    """gunicorn's own worker class logs the line of a request that it cannot parse, and the address
    of one that it fails to answer. They may have the secret of a receipt or of a payment."""
    message = record.getMessage()
    if message.startswith("Invalid request from"):
        # What was sent is in quotation marks, after the reason.
        record.msg, record.args = re.sub("['\"].*", "-", message, flags=re.DOTALL), ()
    elif message.startswith("Error handling request"):
        record.msg, record.args = "Error handling request", ()
    return True


def on_starting(_server):
    """Delete what an earlier start has reported as ready, and give the workers an empty folder for
    their shared metrics (prometheus_client's multiprocess mode): files of earlier workers would be
    counted again."""
    logging.getLogger("gunicorn.error").addFilter(_hide_addresses)
    if settings.web_ready_file:
        Path(settings.web_ready_file).unlink(missing_ok=True)
    if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        folder = tempfile.mkdtemp(prefix=_own_metrics_prefix())
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder


def on_exit(_server):
    folder = Path(os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""))
    if folder.name.startswith(_own_metrics_prefix()):
        shutil.rmtree(folder, ignore_errors=True)


def child_exit(_server, worker):
    """Take a dead worker's gauges out of the sums."""
    # Not at the top: the master would hand its unpatched copy on to the workers.
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)


def post_worker_init(worker):
    """Refuse to serve when a store is configured so that promises cannot be kept. Otherwise read
    what is on sale, give our own worker class the limiter, to count unreadable requests and to
    know their clients, and create the ready file."""
    # Not at the top: this runs after gevent has patched.
    from web.http_server.worker import HttpWorker
    from web.ports.booking_store import UnsafeToSell

    services = worker.wsgi.extensions["services"]
    try:
        services.check_at_start()
    except UnsafeToSell as error:
        worker.log.critical("%s", error)
        sys.exit(Arbiter.WORKER_BOOT_ERROR)
    services.learn_events()
    if isinstance(worker, HttpWorker):
        client_limit = worker.wsgi.extensions["client_limit"]
        worker.count_refused = client_limit.count_refused
        worker.client_of = client_limit.client_of
    # What is there by now stays: no collection has to look through it again. And collections are
    # rarer: a request leaves few cycles. Together they save a twentieth (docs/performance.md).
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    if settings.web_ready_file:
        Path(settings.web_ready_file).touch()
