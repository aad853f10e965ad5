"""How settings name the networks of proxies."""

import pytest

from sidecar.client_address import client_key
from sidecar.networks import parse_networks, presets


def names(text: str) -> list[str]:
    return [str(network) for network in parse_networks(text)]


def test_networks_are_read_with_their_blanks():
    assert names(" 10.0.0.0/8, ::1 ,") == ["10.0.0.0/8", "::1/128"]


def test_a_mapped_network_is_an_ipv4_network():
    assert names("::ffff:10.0.0.0/104") == ["10.0.0.0/8"]


@pytest.mark.parametrize(
    "bad", ["10.0.0.1/8", "10.0.0", "proxy.example", "::1/129", "0.0.0.0/0", "::/0"]
)
def test_a_bad_network_is_named(bad):
    with pytest.raises(ValueError, match=bad):
        parse_networks(f"10.0.0.0/8,{bad}")


def test_an_unknown_name_is_answered_with_the_presets():
    with pytest.raises(ValueError, match="cloudflare, heroku, loopback, private"):
        parse_networks("herroku")


def test_every_preset_is_read_and_stands_beside_networks():
    assert presets() == ["cloudflare", "heroku", "loopback", "private"]
    assert names("heroku,192.0.2.0/24") == ["10.0.0.0/8", "192.0.2.0/24"]
    assert names("loopback") == ["127.0.0.0/8", "::1/128"]
    assert len(parse_networks("cloudflare")) == 22


def test_behind_cloudflare_and_heroku_the_client_is_who_cloudflare_talked_to():
    trusted = parse_networks("heroku,cloudflare")
    written = ["6.6.6.6, 203.0.113.7, 172.71.0.9"]
    assert client_key("10.1.2.3", written, trusted=trusted, hops=None) == "203.0.113.7"


def test_a_file_has_a_network_a_line(tmp_path):
    path = tmp_path / "proxies.txt"
    path.write_text("# ours\n192.0.2.0/24  # the first\n\n2001:db8::/32\n")
    assert names(f"loopback, @{path}")[2:] == ["192.0.2.0/24", "2001:db8::/32"]


def test_a_mistake_in_a_file_is_named_with_its_line(tmp_path):
    path = tmp_path / "proxies.txt"
    path.write_text("192.0.2.0/24\n192.0.2.0/33\n")
    with pytest.raises(ValueError, match=r"proxies.txt, line 2: '192.0.2.0/33'"):
        parse_networks(f"@{path}")


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="/no/such/file"):
        parse_networks("@/no/such/file")
