"""Tokens: who may call the service and what for, kept in a file of their own.

A token's secret is 256 random bits, shown once. The file has its SHA-256 only. A slow hash, as
passwords need, would add nothing: nobody can try 2**256 secrets, however fast.
"""

import asyncio
import fcntl
import hmac
import math
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

import structlog
from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError

from aggsvc import privatefiles
from aggsvc.errors import TokenRefused, TokensUnreadable

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ID = re.compile(r"[0-9a-f]{12}")
TEXT = re.compile(r"aggsvc_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
# Between two looks at the file: what was revoked is so in less than a second.
LOOK_SECONDS = 0.25
# What has not been looked at for so long is not known any more.
STALE_SECONDS = 10.0

log = structlog.get_logger()


class Scope(StrEnum):
    """What a caller may be allowed: to read, to write as well, to do all."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def allows(self, needed: "Scope") -> bool:
        """Whether a caller of this scope may do what needs that one."""
        order = list(Scope)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret; it never expires where it has no time to."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    name: str
    scope: Scope
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    created_at: AwareDatetime
    expires_at: AwareDatetime | None

    def matches(self, text: str) -> bool:
        """Whether this is the token's text; takes as long for every other."""
        return hmac.compare_digest(self.sha256, digest_of(text))

    def has_expired(self) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the file holds."""

    tokens: list[Token]
    version: Literal[1] = 1


KEPT = TypeAdapter(_Kept)


def digest_of(text: str) -> str:
    """What is kept of a token's text."""
    return sha256(text.encode()).hexdigest()


class TokenFile:
    """The file of tokens in a folder; its calls block, and raise TokensUnreadable."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / "tokens.json"

    def stamp(self) -> tuple[int, ...] | None:
        """What changes whenever the file does; None while there is none."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TokensUnreadable(f"cannot read {self.path}: {error.strerror}") from error
        return found.st_ino, found.st_mtime_ns, found.st_size, found.st_ctime_ns

    def read(self) -> list[Token]:
        """All tokens, none where there is no file."""
        try:
            return KEPT.validate_json(self.path.read_bytes()).tokens
        except FileNotFoundError:
            return []
        except OSError as error:
            raise TokensUnreadable(f"cannot read {self.path}: {error.strerror}") from error
        except ValidationError as error:
            what = error.errors(include_input=False)[0]["msg"]
            raise TokensUnreadable(
                f"{self.path} is damaged ({what}); restore it from a copy, or remove it and make "
                "new tokens"
            ) from None

    def create(self, name: str, scope: Scope, expires_at: datetime | None) -> tuple[Token, str]:
        """A new token and its text, which is kept nowhere; raises TokenRefused."""
        if not NAME.fullmatch(name) or ID.fullmatch(name):
            raise TokenRefused(
                f"{name[:80]!r} is no name of a token; it is 1 to 64 of A-Z, a-z, 0-9, '.', '_' "
                "and '-', a letter or digit first, and not 12 hexadecimal digits"
            )
        with self._changing() as tokens:
            if any(token.name == name for token in tokens):
                raise TokenRefused(
                    f"there is a token {name} already; revoke it, or take another name"
                )
            token_id = _new_id({token.id for token in tokens})
            text = f"aggsvc_{token_id}_{secrets.token_urlsafe(32)}"
            created_at = datetime.now(UTC).replace(microsecond=0)
            token = Token(token_id, name, scope, digest_of(text), created_at, expires_at)
            self._write([*tokens, token])
        return token, text

    def revoke(self, name_or_id: str) -> Token:
        """Take the token away; raises TokenRefused."""
        with self._changing() as tokens:
            for token in tokens:
                if name_or_id in (token.name, token.id):
                    self._write([other for other in tokens if other is not token])
                    return token
        raise TokenRefused(f"there is no token {name_or_id[:80]}; see `token list`")

    @contextmanager
    def _changing(self) -> Iterator[list[Token]]:
        """The tokens as they are, which nobody else changes meanwhile."""
        try:
            privatefiles.make_folder(self._folder)
            fd = os.open(self._folder / "tokens.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise TokensUnreadable(f"cannot write in {self._folder}: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield self.read()
        finally:
            os.close(fd)

    def _write(self, tokens: list[Token]) -> None:
        try:
            privatefiles.replace(self.path, KEPT.dump_json(_Kept(tokens), indent=2))
        except OSError as error:
            raise TokensUnreadable(f"cannot write {self.path}: {error.strerror}") from error


def _new_id(taken: set[str]) -> str:
    while (new := secrets.token_hex(6)) in taken:
        pass
    return new


class LiveTokens:
    """The tokens as the file has them, less than a second old."""

    def __init__(self, file: TokenFile) -> None:
        self._file = file
        # Of its own: neither parsing nor the stores' disk keeps a revoked token alive.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tokens")
        self._stamp: tuple[int, ...] | None = None
        self._tokens: dict[str, Token] = {}
        self._damage: TokensUnreadable | None = None
        self._looked_at = -math.inf

    async def open(self) -> None:
        """Read the file for the first time."""
        await self._look()
        if self._damage is None and not self._tokens:
            log.warning("no tokens", detail="make one: python -m aggsvc token create NAME")

    async def follow(self, changed: Callable[[], None]) -> None:
        """Read the file again whenever it has changed; `changed` is called after each look."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._look()
            changed()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False)

    def check(self) -> None:
        """Raise TokensUnreadable while the file cannot be read."""
        if time.monotonic() - self._looked_at > STALE_SECONDS:
            raise TokensUnreadable(f"{self._file.path} has not been read for {STALE_SECONDS:g} s")
        if self._damage is not None:
            raise TokensUnreadable(str(self._damage)) from self._damage

    def find(self, token_id: str) -> Token | None:
        """The token of that id, expired or not; raises TokensUnreadable."""
        self.check()
        return self._tokens.get(token_id)

    def find_text(self, text: str) -> Token | None:
        """The token whose text this is, expired or not; raises TokensUnreadable."""
        self.check()
        match = TEXT.fullmatch(text)
        token = self._tokens.get(match[1]) if match else None
        return token if token is not None and token.matches(text) else None

    def holds(self, token_id: str) -> bool:
        """Whether the token may still be used."""
        token = None if self._damage else self._tokens.get(token_id)
        return token is not None and not token.has_expired()

    async def _look(self) -> None:
        found = await asyncio.get_running_loop().run_in_executor(self._thread, self._read)
        self._looked_at = time.monotonic()
        if isinstance(found, TokensUnreadable):
            if str(found) != str(self._damage):
                log.error("tokens unreadable, so everybody is refused", reason=str(found))
            self._damage = found
            self._stamp = None
        elif found is not None:
            self._damage = None
            self._tokens = {token.id: token for token in found}

    def _read(self) -> list[Token] | TokensUnreadable | None:
        """All tokens, or why there are none; None where nothing has changed."""
        try:
            stamp = self._file.stamp()
            if stamp is not None and stamp == self._stamp:
                return None
            found = self._file.read()
        except TokensUnreadable as error:
            return error
        self._stamp = stamp
        return found
