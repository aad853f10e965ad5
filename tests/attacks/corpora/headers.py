"""Header lines that are for servers among themselves, written by a client.

What proxies, frameworks and platforms are known to believe (RFC 7239, 9110, 9112; httpoxy,
CVE-2016-5385; the lists of "cache poisoning" by Kettle 2018), and what nginx and the application
say to each other here. EVIL stands in each, so that it is seen when one is believed.
"""

EVIL = "evil.example"

OF_PROXIES = (
    *(f"X-Forwarded-Host: {EVIL}", f"X-Host: {EVIL}", f"X-Forwarded-Server: {EVIL}"),
    *(f"X-HTTP-Host-Override: {EVIL}", f"X-Original-Host: {EVIL}", f"Forwarded: host={EVIL}"),
    *("X-Forwarded-Proto: https", "X-Forwarded-Scheme: https", "X-Url-Scheme: https"),
    *("X-Forwarded-Ssl: on", "Front-End-Https: on", "X-Scheme: https", "Forwarded: proto=https"),
    *(f"X-Forwarded-Port: 1{EVIL}", f"X-Forwarded-Prefix: /{EVIL}", f"X-Script-Name: /{EVIL}"),
    *("X-Original-URL: /metrics", "X-Rewrite-URL: /metrics", "X-Forwarded-Uri: /metrics"),
    *("X-Original-Method: DELETE", "X-HTTP-Method-Override: DELETE", "X-Method-Override: DELETE"),
    *("X-HTTP-Method: DELETE", f"Proxy: http://{EVIL}", f"X-Wap-Profile: http://{EVIL}/x"),
    *(f"Referer: https://{EVIL}/", f"Via: 1.1 {EVIL}", f"From: {EVIL}", f"Client-IP: {EVIL}"),
    *("X-Real-IP: 127.0.0.1", "True-Client-IP: 127.0.0.1", "CF-Connecting-IP: 127.0.0.1"),
    *("X-Cluster-Client-IP: 127.0.0.1", "X-Remote-IP: 127.0.0.1", "X-Remote-Addr: 127.0.0.1"),
    *("X-ProxyUser-Ip: 127.0.0.1", "Forwarded: for=127.0.0.1", "Remote-Addr: 127.0.0.1"),
    *("X-Remote-User: admin", "Remote-User: admin", "X-Forwarded-User: admin", "X-Admin: 1"),
    *("SSL-Client-Verify: SUCCESS", "X-Client-Cert: x", "X-Authenticated-User: admin"),
    *(f"X-Amz-Website-Redirect-Location: https://{EVIL}/", f"Location: https://{EVIL}/"),
    *("Max-Forwards: 0", "TE: trailers", "Trailer: X-Forwarded-For", "Keep-Alive: timeout=9999"),
)

OF_OURS = (
    *("X-Accel-Redirect: /.problems/404", "X-Accel-Expires: @9999999999", "X-Accel-Expires: 99"),
    *("X-Accel-Buffering: no", "X-Accel-Limit-Rate: 1", "X-Accel-Charset: utf-7"),
    *("X-Sendfile: /etc/passwd", "X-Lighttpd-Send-File: /etc/passwd", "X-Reproxy-URL: http://a/"),
    *('RateLimit: "client";r=999;t=1', 'RateLimit-Policy: "client";q=9999;w=1', "Retry-After: 0"),
    *("Idempotent-Replayed: true", "Set-Cookie: tickets=x", f"Content-Location: https://{EVIL}/"),
    *("Content-Security-Policy: default-src *", f"Access-Control-Allow-Origin: https://{EVIL}"),
    *(f"X-Request-Id: {EVIL}", 'X-Request-Id: "},{"forged":1', "tickets.client: 127.0.0.1"),
    *("wsgi.url_scheme: https", "werkzeug.server.shutdown: 1", "HTTP-X-Forwarded-For: 6.6.6.6"),
)
