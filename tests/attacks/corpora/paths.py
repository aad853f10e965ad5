"""Spellings of paths that a check could miss while a route or a file system understands them.

After RFC 3986 (2.1, 6.2.2), and what is public about path traversal and about reverse proxies that
are led around their own rules.
"""

SEATS = "/api/events/{event}/seats"

NOTHING = (
    # Empty segments. For nginx's rules these must be no other way to the same.
    *(f"/{SEATS}", f"//{SEATS}", f"/%2f{SEATS[1:]}", f"/%2F{SEATS}", "/api//events/{event}/seats"),
    *("//api//events//{event}//seats", "/api/events/{event}//seats", "/api/events//{event}/seats"),
    # Encoded twice, not to the end, or not in UTF-8; overlong forms.
    *("/api%252fevents/{event}/seats", "/%2561pi/events/{event}/seats", "/%u0061pi/events"),
    *(f"{SEATS}%", f"{SEATS}%4", f"{SEATS}%zz", f"{SEATS}%c0%af", "/%c1%a1pi/events/{event}/seats"),
    *("/api%c0%afevents/{event}/seats", "/%e0%80%afapi/events/{event}/seats", f"{SEATS}%ff"),
    # What other servers leave out.
    *(f"{SEATS}%00", "/api/events/{event}%00/seats", f"{SEATS}%00.css", f"{SEATS}%20", f"{SEATS}."),
    *(f"{SEATS}%0a", f"{SEATS}%0d%0aX:%20y", f"{SEATS}%09", f"{SEATS};", f"{SEATS};a=b"),
    *(
        "/api/events;a=b/{event}/seats",
        f"/x/..;{SEATS}",
        f"{SEATS}.json",
        f"{SEATS}~",
        f"{SEATS}%23",
    ),
    *(f"{SEATS}%3fx", "/api/events/ {event}/seats", f"{SEATS} x", f"{SEATS}\t"),
    # Other letters.
    *("/API/events/{event}/seats", "/api/EVENTS/{event}/seats", "/api/events/{event}/SEATS"),
    *("\\api\\events\\{event}\\seats", f"/\\{SEATS}", "/api\\events/{event}/seats"),
    *("/api%5cevents/{event}/seats", f"{SEATS}\xef", "/api/events/{event}/seat%ef%bd%93"),
    # For what looks into patterns.
    *("/api/events/*/seats", "/api/events/{event}*/seats", "/api/events/%7b{event}%7d/seats"),
    *("/api/events/../seats", "/api/events/%2e%2e/seats", "/api/events/?/seats"),
    # Addresses that nginx has for itself.
    *("/.problems/404", "/.problems/409-seat_taken", "/.problems/", f"/kept-for-pages{SEATS}"),
)

FOR_OPERATORS = (
    *(
        spelling.format(path=path)
        for path in ("metrics", "readyz")
        for spelling in (
            *(
                "/{path}",
                "//{path}",
                "///{path}",
                "/./{path}",
                "/x/../{path}",
                "/{path}/",
                "/{path}//",
            ),
            *(
                "/{path}?x",
                "/{path}#x",
                "/{path};",
                "/{path};x",
                "/{path}.",
                "/\\{path}",
                "http://a/{path}",
            ),
            *("/%2f{path}", "/%2e/{path}", "/x/%2e%2e/{path}", "/x/..%2f{path}", "/{path}%2f"),
            *(
                "/{path}%00",
                "/{path}%20",
                "/{path}%0a",
                "/{path}%23",
                "/{path}%3f",
                "/{path}%c0%af",
            ),
            *(
                "/healthz/../{path}",
                "/healthz/..%2f{path}",
                "/static/../{path}",
                "/static/..%2f{path}",
            ),
            *("/static/x/../../{path}", "/.problems/../{path}", "/kept-for-pages/../{path}"),
            *(
                "/{path}/.",
                "/{path}/..%2f{path}",
                "/{path}%2f..",
                "/api/../{path}",
                "/%2e%2e/{path}",
            ),
        )
    ),
    *("/%6detrics", "/m%65trics", "/METRICS", "/Metrics", "/%72eadyz", "/%256detrics"),
)
"""Not for strangers, however they are spelt."""

OUTSIDE_OF_STATIC = (
    *(
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static/%2e%2e%2fapp.py",
    ),
    *("/static/..\\app.py", "/static/..%5capp.py", "/static/%252e%252e/app.py", "/static../app.py"),
    *(
        "/static/..%c0%afapp.py",
        "/static/....//app.py",
        "/static/..;/app.py",
        "/static/.%00./app.py",
    ),
    *("/static//etc/passwd", "/static/%2fetc/passwd", "/static/../../../../../../etc/passwd"),
    *("/static/00000000/../../app.py", "/static/00000000/..%2f..%2fapp.py", "/static..%2fapp.py"),
    *("/static/00000000//etc/passwd", "/static/00000000/%2fetc/passwd", "/static/~root/.profile"),
    *("/static/style.css/../../app.py", "/static/style.css%00.html", "/static/file:///etc/passwd"),
    *("/static/", "/static", "/static/.", "/static/%2e", "/static/00000000/", "/static/00000000/."),
)
"""No file but those of web/static, and no list of them."""
