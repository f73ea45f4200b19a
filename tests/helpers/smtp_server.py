"""A real SMTP server in a process of its own, which refuses as often as it is told to.

`python -m tests.helpers.smtp_server FILE` serves on a free port of loopback, prints it, and writes
each message that it took as a line of JSON. Commands on its stdin change how it behaves: `refuse
SHARE SEED`, `tire MAILS HOW` or `fine`.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from pathlib import Path
from typing import IO, Any

from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass
class Handler:
    """Takes messages, or does not."""

    path: Path
    share: float = 0.0
    dice: random.Random | None = None
    most: int | None = None
    how: str = ""
    begun: Counter[str] = field(default_factory=Counter)
    """Mails by session, which is called by its client's address and port."""

    def refuses(self) -> bool:
        return self.dice is not None and self.dice.random() < self.share

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        self.begun[str(session.peer)] += 1
        if self.most is not None and self.begun[str(session.peer)] > self.most:
            self.note({"refused": "session"})
            if self.how == "cut" and server.transport:
                server.transport.close()
            return self.how + " enough for today"
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        if self.refuses():
            self.note({"refused": "RCPT"})
            return "451 busy, come again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        # Read by whoever asks: a server that is to be fast must not take messages apart.
        content = envelope.original_content or b""
        told = {"at_s": time.time(), "session": str(session.peer), "to": envelope.rcpt_tos}
        self.note({**told, "content": content.decode("latin-1")})
        if self.refuses() and server.transport:
            # It has it, and nobody is told so.
            self.note({"refused": "answer"})
            server.transport.close()
        return "250 OK"

    def note(self, what: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(what) + "\n")


async def serve(path: Path) -> None:
    """Serve until stdin ends."""
    loop = asyncio.get_running_loop()
    handler = Handler(path)
    server = await loop.create_server(
        lambda: SMTP(handler, enable_SMTPUTF8=True, loop=loop), "127.0.0.1", 0
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        match line.split():
            case ["refuse", share, seed]:
                handler.share, handler.dice = float(share), random.Random(int(seed))
            case ["tire", most, how]:
                handler.most, handler.how = int(most), how
            case _:
                handler.dice, handler.most = None, None
        print("done", flush=True)


@dataclass
class MailServer:
    """The process, as a test sees it."""

    port: int
    path: Path
    _stdin: IO[str]
    _stdout: IO[str]
    _read: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """For `HOLDFAST_SMTP_URL`."""
        return f"smtp://127.0.0.1:{self.port}"

    def refuse(self, share: float, seed: int) -> None:
        """Refuse this share of recipients, and lose this share of answers."""
        self._tell(f"refuse {share} {seed}")

    def tire(self, mails: int, how: str) -> None:
        """Take so many mails in a session; at the next one answer with a code, or `cut` it off."""
        self._tell(f"tire {mails} {how}")

    def fine(self) -> None:
        """Take everything."""
        self._tell("fine")

    def _tell(self, command: str) -> None:
        self._stdin.write(command + "\n")
        self._stdin.flush()
        assert self._stdout.readline() == "done\n"

    def forget(self) -> None:
        """Begin anew, and take everything."""
        self.path.unlink(missing_ok=True)
        self._read.clear()
        self.fine()

    def noted(self) -> list[dict[str, Any]]:
        """What it took and refused."""
        lines = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        self._read += map(_read, lines.splitlines()[len(self._read) :])
        return list(self._read)

    def messages(self) -> list[dict[str, Any]]:
        """What it took, with what came twice."""
        return [one for one in self.noted() if "to" in one]


def _read(line: str) -> dict[str, Any]:
    """A line of what was noted, a message with its parts."""
    noted: dict[str, Any] = json.loads(line)
    if "content" not in noted:
        return noted
    content = noted.pop("content").encode("latin-1")
    message = message_from_bytes(content, policy=policy.default)
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    return {
        **noted,
        "subject": message["subject"],
        "message_id": message["message-id"],
        "list_id": message["list-id"],
        "text": text.get_content() if text else "",
        "html": html.get_content() if html else "",
    }


@contextmanager
def mail_server(path: Path) -> Iterator[MailServer]:
    """Start one."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.smtp_server", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    try:
        port = int(process.stdout.readline())
        yield MailServer(port, path, process.stdin, process.stdout)
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
