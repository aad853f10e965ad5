"""Refuses, before parsing, what no event file needs: tomllib takes time and memory quadratic in the
number of a name's parts, and a stack frame for each nested list."""

import re

MAX_NAME_PARTS = 3
"""``sections.rows`` has two."""

MAX_DEPTH = 8
"""Of nested brackets; ``sections = [{ rows = [{ … }] }]`` has four."""

MAX_WORD_CHARACTERS = 64
"""Of a name or value without quotes: twice the longest date with its zone."""

MAX_ENTRIES = 50_000
"""Parts of names, tables and lists: each takes up to a kilobyte while it is parsed. A venue of
100,000 seats in rows of ten, a line a row, has 30,000."""

# Quoted text and comments may contain anything. If unterminated they extend to the end of the line
# or of the file: the parser stops there too. The regex never backtracks ("++", "*+").
_TOKEN = re.compile(
    r'''
    (?P<text> """ [^"\\]*+ (?: (?: \\. | "(?!"") ) [^"\\]*+ )* (?: "{3,5} | \\?\Z )
            | \'\'\' [^']*+ (?: '(?!'') [^']*+ )* (?: '{3,5} | \Z )
            | " [^"\\\n]*+ (?: \\. [^"\\\n]*+ )* "?
            | ' [^'\n]*+ '?
            | \# [^\n]*+ )
    | (?P<word> [^\s.=,\[\]{}"'\#]++ )
    | (?P<dot> \. )
    | (?P<open> [\[{] )
    | (?P<close> [\]}] )
    | (?P<end> [=,\n] )
    ''',
    re.VERBOSE | re.DOTALL,
)


class BadShape(Exception):
    """The message says on which line, what the limit is and what to do."""


def check_shape(text: str) -> None:
    """Raises BadShape if ``text`` has what no event needs. Invalid TOML is left to the parser."""
    depth = entries = 0
    parts = 1
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        problem = ""
        if kind == "dot":
            parts += 1
            entries += 1
            if parts > MAX_NAME_PARTS:
                problem = (
                    f"a name has at most {MAX_NAME_PARTS} parts, with dots between them; "
                    "put a text in quotes"
                )
        elif kind == "word":
            if len(token[0]) > MAX_WORD_CHARACTERS:
                problem = (
                    f"a name or a number without quotes has at most {MAX_WORD_CHARACTERS} "
                    "characters; put a text in quotes"
                )
        elif kind != "text":
            parts = 1
            if kind == "open":
                depth += 1
            elif kind == "close":
                depth -= 1
            entries += kind == "open" or token[0] == "="
            if depth > MAX_DEPTH:
                problem = (
                    f"brackets are more than {MAX_DEPTH} deep; an event needs four, as in "
                    'sections = [{ rows = [{ ids = "A-F", seats = "1-20" }] }]'
                )
            elif entries > MAX_ENTRIES:
                problem = (
                    f"a file has at most {MAX_ENTRIES:,} fields, tables and lists; write rows "
                    'that are alike as one, as in { ids = "A-F", seats = "1-20" }'
                )
        if problem:
            line = text.count("\n", 0, token.start()) + 1
            raise BadShape(f"line {line}: {problem}")
