"""HTTP servers that a test writes itself, in threads of its own process."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from ops.servers import HOST

END_POLL_S = 0.01
"""Short, because each server waits this long at its end; default half a second."""


class QuietHandler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class LocalServer(ThreadingHTTPServer):
    """On loopback, inside its ``with`` block. Port 0 is a free one."""

    request_queue_size = 128
    """Of connections that wait to be accepted; default 5, and the kernel drops those of a crowd."""

    def __init__(self, handler: type[BaseHTTPRequestHandler], port: int = 0):
        super().__init__((HOST, port), handler)
        self.address = f"{HOST}:{self.server_port}"
        self.url = f"http://{self.address}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(END_POLL_S,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
