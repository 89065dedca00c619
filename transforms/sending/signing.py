"""Signing: the session of one connection with its vendor, begun once, renewed early, and put into each request."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping

from schemas.secret import secrets_in
from transforms.destinations.auth import Auth, Session, SigningIn
from transforms.destinations.contract import Destination, Request
from transforms.destinations.safety import fingerprint
from transforms.sending.log import Kept
from transforms.sending.talk import Stopped


class Signing:
    """Signs the requests of one connection."""

    def __init__(self, destination: Destination, tokens: Kept | None, wall: Callable[[], float]) -> None:
        """`wall`: seconds since 1970."""
        self.auth: Auth = destination.auth
        self._settings, self._tokens, self._wall = destination.settings, tokens, wall
        self._session = Session()
        self._lock = asyncio.Lock()
        self.renewals = 0

    @property
    def due(self) -> bool:
        """Whether somebody has to sign in before the next request goes."""
        return self.auth.signs_in and (not self._session.token or self._wall() >= self._session.renew_at)

    @property
    def renewing(self) -> bool:
        return self._lock.locked()

    async def renewed(self) -> None:
        """Wait while somebody signs in."""
        async with self._lock:
            return

    async def renew(self, seen: int, talk: Callable[[SigningIn], Awaitable[Session]]) -> None:
        """Sign in by `talk`, unless somebody has done so since there were `seen` renewals."""
        async with self._lock:
            if self.renewals != seen:
                return
            now, given = self._wall(), fingerprint(*(secret.reveal() for secret in secrets_in(self._settings)))
            kept = await asyncio.to_thread(self._tokens.load) if self._tokens else {}
            token = str(kept.get("refresh_token", "")) if kept.get("of") == given else ""
            session = await talk(self.auth.sign_in(self._settings, token, now))
            if not session.token:
                raise Stopped("signing in brought no session: its destination's module does not read the answer")
            if session.refresh_token and self._tokens:  # the one before it is not good any more
                await asyncio.to_thread(self._tokens.save, {"of": given, "refresh_token": session.refresh_token})
            self._session = session
            self.renewals += 1

    def complete(self, request: Request) -> Request:
        """The request with its whole address, and with credentials that belong there or into its body."""
        return self.auth.complete(request, self._settings, self._session)

    def headers(self, request: Request) -> Mapping[str, str]:
        """The credentials, as they are at this moment; names in lower case."""
        signed = self.auth.headers(request, self._settings, self._session, self._wall())
        return {name.lower(): value for name, value in signed.items()}

    def secrets(self) -> Iterator[str]:
        """What must not be shown: the secrets of the settings, and what was made of them."""
        yield from (secret.reveal() for secret in secrets_in(self._settings))
        yield from filter(None, (self._session.token, self._session.refresh_token))

    def signatures(self, last: Request | None) -> Iterator[str]:
        """The values of the headers that sign a request: `last` is the one that was sent last."""
        if last:
            yield from self.headers(last).values()
