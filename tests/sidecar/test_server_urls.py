"""Which servers a Redis URL names, and how one that cannot be read is refused."""

import re

import pytest
from redis.connection import parse_url

from sidecar import server
from sidecar.redis_server import redis_server
from sidecar.server_urls import RedisServers, redis_servers
from sidecar.settings import BadSettings, read_settings


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("redis://h", (("h", 6379),)),
        ("redis://", (("localhost", 6379),)),
        ("rediss://u:p%40ss@h:6380/3?ssl_cert_reqs=none", (("h", 6380),)),
        ("redis://:p@[::1]:7000/0", (("::1", 7000),)),
        ("redis://:a,b@h", (("h", 6379),)),
        ("unix:///run/a@b,c.sock?db=1", ()),
    ],
)
def test_the_url_of_one_server_is_left_to_redis_py(url, hosts):
    assert redis_servers("REDIS_URL", url) == RedisServers("server", hosts, "", url, {})


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        (
            "redis+sentinel://user:password@h1:26379,h2:26379/shop/5",
            RedisServers(
                "sentinel",
                (("h1", 26379), ("h2", 26379)),
                "shop",
                "redis://user:password@h1:26379/5",
                {},
            ),
        ),
        (
            "rediss+sentinel://:p%40%2F%3A@h1,[::1]:5/a%20b?sentinel_username=u&db=3&sentinel_password=%40",
            RedisServers(
                "sentinel",
                (("h1", 26379), ("::1", 5)),
                "a b",
                "rediss://:p%40%2F%3A@h1?db=3",
                {"username": "u", "password": "@"},
            ),
        ),
        (
            "redis+sentinel://h/7/0",
            RedisServers("sentinel", (("h", 26379),), "7", "redis://h/0", {}),
        ),
        (
            "redis+cluster://h1:7000,h2",
            RedisServers("cluster", (("h1", 7000), ("h2", 6379)), "", "redis://h1:7000", {}),
        ),
        (
            "rediss+cluster://u:p%3A%40%2F@[::1]:7000,[::2]:7001/0?ssl_cert_reqs=none",
            RedisServers(
                "cluster",
                (("::1", 7000), ("::2", 7001)),
                "",
                "rediss://u:p%3A%40%2F@[::1]:7000/0?ssl_cert_reqs=none",
                {},
            ),
        ),
    ],
)
def test_sentinels_and_nodes_of_a_cluster_are_a_list_of_hosts(url, servers):
    assert redis_servers("REDIS_URL", url) == servers


@pytest.mark.parametrize(
    ("url", "spelt_for_redis"),
    [
        ("valkey://h/1", "redis://h/1"),
        ("valkeys://h", "rediss://h"),
        ("valkeys+sentinel://h/shop", "rediss+sentinel://h/shop"),
        ("valkey+cluster://h", "redis+cluster://h"),
    ],
)
def test_valkey_is_the_same(url, spelt_for_redis):
    assert redis_servers("REDIS_URL", url) == redis_servers("REDIS_URL", spelt_for_redis)


@pytest.mark.parametrize("kind", ["redis", "redis+sentinel", "redis+cluster"])
def test_names_and_passwords_may_have_any_character_percent_encoded(kind):
    service = "/shop" if kind == "redis+sentinel" else ""
    url = f"{kind}://u%40%3A%2F%3F:%23%5B%25%2C@h{service}"
    read = parse_url(redis_servers("REDIS_URL", url).server_url)
    assert (read["username"], read["password"]) == ("u@:/?", "#[%,")


SCHEMES = (
    "must begin with redis://, rediss://, unix://, redis+sentinel://, rediss+sentinel://, "
    "redis+cluster:// or rediss+cluster://"
)
NO_SERVICE = "must name the service that the Sentinels watch, as in redis+sentinel://host:26379/"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis", SCHEMES),
        ("valkeyss://h", SCHEMES),
        ("redis+sentinels://h/shop", SCHEMES),
        ("redis://cious@a:1,b:2/0", "must begin with redis+sentinel:// or redis+cluster://"),
        ("rediss://a,b", "must begin with rediss+sentinel:// or rediss+cluster://"),
        ("redis+sentinel:///shop", "has no host where one must be"),
        ("redis+sentinel://u:cious@/shop", "has no host where one must be"),
        ("redis+cluster://a,,b", "has no host where one must be"),
        ("redis+cluster://a,", "has no host where one must be"),
        ("redis+cluster://a,:7000", "has no host where one must be"),
        ("redis+cluster://a, b", "has a host that cannot be read"),
        ("redis://redis..example.org", "has a host that cannot be read"),
        (f"redis+sentinel://a,{'b' * 64}/mymaster", "has a host that cannot be read"),
        ("redis+cluster://a,fe80::1", "must have a port from 1 to 65535"),
        ("redis+cluster://a,[x]", "has a host in brackets that is no IPv6 address"),
        ("redis+cluster://a:7000,b:0", "must have a port from 1 to 65535"),
        ("redis+sentinel://u:cious,b/shop", "must have a port from 1 to 65535"),
        ("redis+sentinel://a,b", NO_SERVICE),
        ("redis+sentinel://a,b/", NO_SERVICE),
        ("redis+sentinel://a,b/0", NO_SERVICE),
        ("redis+sentinel://a//0", NO_SERVICE),
        ("redis+sentinel://a/shop/first", "must end with the number of a database"),
        ("redis+sentinel://a/shop/0/1", "must end with the number of a database"),
        ("redis+cluster://a/shop", "must end with the number of a database"),
        ("redis+cluster://a/1", "a cluster has no other"),
        ("redis+cluster://a?db=1", "a cluster has no other"),
        ("redis://h?cious", "must have options as name=value"),
        ("redis+cluster://u:pre/cious@a,b", "percent-encode it"),
        ("redis+cluster://u:pre#cious@a,b", "percent-encode it"),
        ("redis+cluster://u:pre[cious@a,b", "percent-encode it"),
    ],
)
def test_a_url_that_cannot_be_read_is_refused_in_one_line_without_a_part_of_it(url, says):
    with pytest.raises(ValueError, match=f"^REDIS_URL .*{re.escape(says)}") as refused:
        redis_servers("REDIS_URL", url)
    assert "cious" not in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://u:cious@h/0?databse=1", "there is no option databse"),
        ("redis+sentinel://u:cious@h/shop?databse=1", "there is no option databse"),
        ("rediss+sentinel://h/shop?ssl_nonsense=1", "there is no option ssl_nonsense"),
        ("redis://h?socket_timeout=x", "Invalid value for 'socket_timeout'"),
        ("redis://h?retry=3", "'str' object has no attribute"),
        ("rediss+sentinel://h/shop?ssl_cert_reqs=nonsense", "Invalid SSL Certificate"),
        ("rediss://h?ssl_ca_certs=/not/there", "No such file"),
    ],
)
def test_an_option_that_redis_py_refuses_is_named_before_the_first_connection(url, says):
    with pytest.raises(ValueError, match=f"^LIMITER_REDIS_URL: .*{re.escape(says)}") as refused:
        redis_server("LIMITER_REDIS_URL", url, "")
    assert "cious" not in str(refused.value) and "\n" not in str(refused.value)


def test_the_limiter_ends_in_one_line_at_such_an_option(monkeypatch, capsys):
    monkeypatch.setenv("LIMITER_REDIS_URL", "redis+sentinel://h/shop?databse=1")
    monkeypatch.setenv("LIMITER_SOCKET", "/not/used")
    assert server.main() == 2
    says = "settings: LIMITER_REDIS_URL: there is no option databse\n"
    assert capsys.readouterr().err == says


def test_the_limiter_counts_on_one_server():
    for url in ("redis+sentinel://u:p@h1,h2/shop", "rediss://h", "unix:///run/redis.sock"):
        assert read_settings({"LIMITER_REDIS_URL": url}).limiter_redis_url == url
    why = "LIMITER_REDIS_URL cannot be a cluster: its keys must all be on one server"
    with pytest.raises(BadSettings, match=why):
        read_settings({"LIMITER_REDIS_URL": "valkey+cluster://h1,h2"})
    with pytest.raises(BadSettings) as refused:
        read_settings({"LIMITER_REDIS_URL": "redis://h1,h2"})
    assert "redis+sentinel://" in str(refused.value) and "cluster" not in str(refused.value)
