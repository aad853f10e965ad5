"""The mails of the mailbox, a file each."""

import time
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

SHOWN = 200
"""The newest."""


class MailFolder:
    def __init__(self, folder: Path):
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, content: bytes) -> None:
        name = f"{time.time_ns()}.eml"
        # In one step: the pages read the folder at any time.
        unfinished = self._folder / f".{name}"
        unfinished.write_bytes(content)
        unfinished.rename(self._folder / name)

    def names(self) -> list[str]:
        """Newest first."""
        return sorted((path.stem for path in self._folder.glob("[0-9]*.eml")), reverse=True)[:SHOWN]

    def read(self, name: str) -> bytes | None:
        """``name`` is one of ``names``, or another number."""
        try:
            return (self._folder / f"{name}.eml").read_bytes()
        except FileNotFoundError:
            return None

    def message(self, name: str) -> EmailMessage | None:
        content = self.read(name)
        return None if content is None else message_from_bytes(content, policy=policy.SMTPUTF8)
