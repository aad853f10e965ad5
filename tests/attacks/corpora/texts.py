"""Texts that are code to somebody: a browser, a template, a shell, a database, a log, a table.

After OWASP's cheat sheets on XSS, injection and CSV, and what Lua and MongoDB have of operators.
FORGED stands in those that would make a line of a log.
"""

FORGED = "FORGED LINE"

TEXTS = (
    # HTML, and the places in it where a text can stand.
    *("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</title><svg onload=alert(1)>"),
    *('" autofocus onfocus=alert(1) x="', "' onmouseover=alert(1) x='", "--><script>", "<!--"),
    *("</textarea><script>", "javascript:alert(1)", "&lt;b&gt;", "&#60;b&#62;", "<b/x='>", "<bdi>"),
    *("\\u003cscript\\u003e", "%3Cscript%3E", "+ADw-script+AD4-", "<scr\u0131pt>", "\uff1cb\uff1e"),
    *("</script><script>alert(1)", "${alert(1)}", "`-alert(1)-`", "]]><x>", "<?php echo 1 ?>"),
    # Templates, shells, formats.
    *("{{ 7 * 7 }}", "{% raw %}", "{{ config }}", "${7*7}", "#{7*7}", "%(key)s", "%s%s%n", "{0}"),
    *("{self.__class__}", "$(id)", "`id`", "; id", "| id", "&& id", "../../etc/passwd", "~root"),
    # MongoDB and Redis.
    *('{"$gt": ""}', '{"$where": "sleep(1000)"}', "$ne", "seats.$", "a.b", "bookings", "_id"),
    *("*3\r\n$3\r\nDEL\r\n", "\r\nFLUSHALL\r\n", "]] redis.call('FLUSHALL') --[[", "\\0", "{x}"),
    *('" .. redis.call("FLUSHALL") .. "', "%z", "(.-)*", "%f[%w]", "\x00", "' OR '1'='1", "KEYS *"),
    # Tables and terminals.
    *('=cmd|" /C calc"!A0', "=1+1", "+1", "-1", "@SUM(1)", "\t=1", "a,b", 'a"b', "a;b", "\x1b[2J"),
    # Logs.
    *(f"a\n{FORGED}", f"a\r\n{FORGED}", f"a\x0b{FORGED}", f"a\x85{FORGED}", f"a\u2028{FORGED}"),
    *('"},{"forged":true', f'a"\n{{"status":200,"path":"{FORGED}"}}', f"a\x1b[1A{FORGED}"),
    # Letters that are others, none, or too many.
    *(
        "\u202egpj.exe",
        "a\u200bb",
        "\ufeffa",
        "\ud800",
        "\U0010ffff",
        "e" + "\u0301" * 100,
        "A" * 5_000,
    ),
)
