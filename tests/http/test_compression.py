"""Large answers are compressed for clients that accept it."""

import contextlib
import gzip
import http.client
from urllib.parse import urlsplit

import msgspec
import pytest

from tests.support.factories import numbers, put_on_sale, small_hall
from web.domain.events import Row, Section

PATIENCE_S = 10
ROWS = (Row("GA", (numbers(1, 5000),)),)


@pytest.mark.parametrize(
    ("accepted", "zipped"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("gzip;q=0", False), ("", False)],
)
def test_a_large_map_is_compressed_for_whoever_takes_it(stack, seats, accepted, zipped):
    hall = small_hall(sections=(Section("floor", "Floor", "general", 2500, ROWS),))
    put_on_sale(seats, hall)
    for url in (stack.url, stack.web_url):
        # Not requests: it would say for itself what it accepts, and unpack.
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            path = f"/api/events/{hall.id}/seats"
            connection.request("GET", path, headers={"Accept-Encoding": accepted})
            answer = connection.getresponse()
            body = answer.read()
        assert (answer.headers["Content-Encoding"] == "gzip") == zipped
        assert answer.headers["ETag"].startswith("W/") == zipped, "they are not the same bytes"
        assert "Accept-Encoding" in answer.headers["Vary"]
        plain = gzip.decompress(body) if zipped else body
        assert msgspec.json.decode(plain)["seats"] == "0" * 5000
