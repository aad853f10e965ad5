"""Where an API client may have the bank send buyers back to."""

import pytest

from web.domain.validation import MAX_RETURN_URL_LENGTH, address_of

GOOD = [
    "https://shop.example.org/thanks",
    "HTTPS://Shop.Example.org",
    "https://shop.example.org:8443/thanks?order=1&to=https://other.example#paid",
    "https://shop.example.org.",
    "https://shop.example.org/%C3%BC%20",
    "https://xn--bcher-kva.example/",
    "https://192.0.2.1/",
    "https://[2001:db8::1]:8443/",
    "http://localhost:3000/thanks",
    "http://LOCALHOST",
    "http://shop.localhost/",
    "http://127.8.9.1/",
    "http://[::1]:80/",
]

NO_ADDRESSES = [
    "",
    "/thanks",
    "//shop.example.org/thanks",
    "shop.example.org",
    "https:shop.example.org",
    "https:/shop.example.org",
    "https://",
    "https:///thanks",
    "https://?x",
    "https://:443/",
    "javascript:alert(1)",
    "data:text/html,hello",
    "com.example.app://thanks",
    "https://ada@shop.example.org/",
    "https://@shop.example.org/",
    "https://shop.example.org@evil.example/",
    "https://shop.example.org\\@evil.example/",
    "https://shop.example.org/\\evil.example",
    "https://shop.example.org:x/",
    "https://shop..example.org/",
    "https://-shop.example.org/",
    "https://shop,example.org/",
    "https://*.example.org/",
    "https://<shop>/",
    "https://%73hop.example.org/",
    f"https://{'a' * 64}.example.org/",
    "https://[::1",
    "https://[::1]evil.example/",
    "https://[::1%25lo]/",
    "https://[1.2.3]/",
]

NOT_ASCII = [
    "https://bücher.example/",
    "https://shop.example.org/ü",
    "https://shop.example.org/a b",
    " https://shop.example.org/",
    "https://shop.example.org/\n",
    "https://shop.ex\tample.org/",
    "https://shop.example.org/\x00",
    "https://shop\u3002example.org/",
]

WITHOUT_TLS = [
    "http://shop.example.org/",
    "http://localhost.evil.example/",
    "http://127.0.0.1.evil.example/",
    "http://0.0.0.0/",
    "http://192.168.0.1/",
    "http://[2001:db8::1]/",
]


@pytest.mark.parametrize("text", GOOD)
def test_an_address_stays_as_it_was_sent(text):
    assert address_of(text) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        *((text, r"^must be an absolute address such as https://[^,]*$") for text in NO_ADDRESSES),
        *((text, "in ASCII and without spaces") for text in NOT_ASCII),
        *((text, "must begin with https://") for text in WITHOUT_TLS),
        ("https://shop.example.org:0/", "must have a port from 1 to 65535"),
        ("https://shop.example.org:65536/", "must have a port from 1 to 65535"),
    ],
)
def test_what_cannot_be_one_is_refused_in_words(text, problem):
    with pytest.raises(ValueError, match=problem):
        address_of(text)


def test_an_address_has_at_most_500_characters():
    base = "https://shop.example.org/"
    longest = base + "x" * (MAX_RETURN_URL_LENGTH - len(base))
    assert address_of(longest) == longest
    with pytest.raises(ValueError, match="must have at most 500 characters"):
        address_of(longest + "x")
