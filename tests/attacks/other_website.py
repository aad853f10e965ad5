"""A website of somebody else, and what its pages can make a visitor's browser send."""

from urllib.parse import parse_qs, urlsplit

from tests.support.local_server import LocalServer, QuietHandler


class OtherWebsite(LocalServer):
    """Any path is an empty page, and ``/redirect?to=URL`` leads there with method and body.
    ``received`` has the path and the headers of each request."""

    def __init__(self) -> None:
        super().__init__(Handler)
        self.received: list[tuple[str, dict[str, str]]] = []


class Handler(QuietHandler):
    server: OtherWebsite

    def answer(self) -> None:
        self.server.received.append((self.path, dict(self.headers)))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = urlsplit(self.path)
        if asked.path == "/redirect":
            self.send_response(307)
            self.send_header("Location", parse_qs(asked.query)["to"][0])
            self.send_header("Content-Length", "0")
        else:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", "15")
        self.end_headers()
        if asked.path != "/redirect":
            self.wfile.write(b"<!doctype html>")

    do_GET = do_POST = answer


FETCHES = """
async ([address, method]) => {
    const body = method === "GET" ? undefined : '{"seats": ["stalls-A-1"]}';
    const headers = { "Content-Type": "text/plain" };
    const ways = [
        { mode: "no-cors" },
        { mode: "no-cors", body, headers },
        { mode: "no-cors", credentials: "include" },
        { mode: "cors", body, headers },
        { mode: "cors", credentials: "include" },
        { mode: "cors", headers: { "Idempotency-Key": "k", Authorization: "Bearer t" } },
    ];
    const sent = ways.map((way) => fetch(address, { method, keepalive: true, ...way }));
    const told = await Promise.allSettled(sent);
    return told.filter(({ value }) => value && value.type !== "opaque").length;
}
"""
"""Gives how many of the answers could be read."""

BEACON = "(address) => navigator.sendBeacon(address, new Blob(['seats=stalls-A-1']))"

PARTS = """
async (address) => {
    const loaded = ["img", "script", "iframe", "object", "embed", "link"].map((name) => {
        const part = document.createElement(name);
        part[{ object: "data", link: "href" }[name] || "src"] = address;
        if (name === "link") part.rel = "stylesheet";
        document.documentElement.append(part);
        return new Promise((done) => {
            part.onload = part.onerror = done;
            setTimeout(done, 500);
        });
    });
    await Promise.all(loaded);
}
"""
"""Shows the address as each part of a page that there is."""

REMOVE_PARTS = """
() => document.querySelectorAll("html > :not(head, body)").forEach((part) => part.remove())
"""

FETCHES_AHEAD = """
(address) => {
    const rules = document.createElement("script");
    rules.type = "speculationrules";
    const urls = [...Array(20).keys()].map((number) => `${address}?${number}`);
    rules.textContent = JSON.stringify({ prefetch: [{ urls, eagerness: "immediate" }] });
    document.head.append(rules);
}
"""
"""Makes Chromium prefetch twenty pages that nobody has opened."""

FORM = """
([address, enctype, method, target]) => {
    const form = document.createElement("form");
    Object.assign(form, { action: address, enctype, method, target });
    for (const name of ["seats", "section", "quantity", "key", "token", "csrf_token"]) {
        const field = document.createElement("input");
        Object.assign(field, { name, value: name === "seats" ? "stalls-A-1" : "1" });
        form.append(field);
    }
    if (target) {
        const frame = document.createElement("iframe");
        frame.name = target;
        document.documentElement.append(frame);
    }
    document.documentElement.append(form);
    form.submit();
}
"""

ENCTYPES = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")
