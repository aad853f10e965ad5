"""Names and addresses for nginx: those that work, and what is said of the others."""

import pytest

from ops.nginx import names


@pytest.mark.parametrize(
    ("name", "taken_as"),
    [
        ("tickets.example.org", "tickets.example.org"),
        ("Tickets.Example.ORG", "tickets.example.org"),
        ("localhost", "localhost"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("*.example.org", "*.example.org"),
        (".example.org", ".example.org"),
        ("203.0.113.5", "203.0.113.5"),
        ("[2001:db8::1]", "[2001:db8::1]"),
    ],
)
def test_a_name_that_browsers_send_is_taken(name, taken_as):
    assert names.server_name(name) == taken_as


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "is empty"),
        ("https://tickets.example.org", "is a URL; give tickets.example.org"),
        ("https://tickets.example.org:8443/events", "is a URL; give tickets.example.org"),
        ("tickets.example.org/", "is a URL; give tickets.example.org"),
        ("tickets.example.org:443", "has a port, which is no part of a name; give tickets.exam"),
        ("tickets.example.org.", "ends with a dot; give tickets.example.org"),
        ("a.example b.example", "is more than one name"),
        ("a.example,b.example", "is more than one name"),
        (" a.example", "has a space before or after it; give a.example"),
        ("a;b", "has ';', which no host name has"),
        ("a.example; deny all", "has ';', which no host name has"),
        ("bücher.example", "is not in ASCII, as browsers send it; give xn--bcher-kva.example"),
        ("box_office.example.org", "has an underscore, .*; give box-office.example.org"),
        ("_", "has an underscore"),
        ("www.example.*", "has an asterisk that is not the whole first label"),
        ("w*.example.org", "has an asterisk that is not the whole first label"),
        ("*", "has an asterisk"),
        ("a..example", "has the label ''"),
        ("-a.example", "has the label '-a'"),
        ("a" * 64 + ".example", "a label has 1 to 63"),
        (".".join(["a" * 49] * 6), "more than 253 characters"),
        ("2001:db8::1", r"give \[2001:db8::1\]"),
        ("256.1.1.1", "neither a host name nor an IP address"),
        ("$host", r"has '\$', which no host name has"),
        ("~^www", "is a regular expression"),
        ("~^(.*)$", "is a regular expression"),
        ("user@a.example", "has '@', which no host name has"),
    ],
)
def test_a_name_that_no_request_can_have_is_refused_with_the_one_that_was_meant(name, says):
    with pytest.raises(ValueError, match=says):
        names.server_name(name)


@pytest.mark.parametrize("address", ["192.0.2.1", "[2001:db8::1]"])
def test_an_address_is_no_name_for_tls(address):
    with pytest.raises(ValueError, match=r"is an IP address, .*; give a host name"):
        names.server_name(address, tls=True)


@pytest.mark.parametrize(
    "upstream",
    ["127.0.0.1:8000", "web.internal:8000", "my_web:8000", "[::1]:8000", "unix:/run/web.socket"],
)
def test_an_upstream_is_an_address_with_a_port_or_a_socket(upstream):
    assert names.upstream(upstream) == upstream


@pytest.mark.parametrize(
    ("upstream", "says"),
    [
        ("http://127.0.0.1:8000", "is a URL; give its HOST:PORT alone"),
        ("127.0.0.1", "has no port"),
        ("::1", "has no port"),
        ("localhost", "has no port"),
        ("", "give HOST:PORT"),
        ("8000", "give HOST:PORT"),
        ("web:0", "port from 1 to 65535"),
        ("web:65536", "port from 1 to 65535"),
        ("web:8000/", "give HOST:PORT"),
        ("web:8000; deny all", "give HOST:PORT"),
        ("unix:web.socket", "has no full path"),
        ("unix:/run/a;b", "has no full path"),
    ],
)
def test_another_upstream_is_refused(upstream, says):
    with pytest.raises(ValueError, match=says):
        names.upstream(upstream)


def test_a_port_alone_can_be_listened_on():
    assert [names.listen(text) for text in ("80", "[::]:80")] == ["80", "[::]:80"]
    with pytest.raises(ValueError, match="to listen on"):
        names.listen("http://127.0.0.1:80")
