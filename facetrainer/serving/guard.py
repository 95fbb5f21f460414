"""What stands between the network and the application: who may ask, how much, how often."""

import dataclasses
import hmac
import json
import time
from urllib.parse import urlsplit

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-store",
}  # fmt: skip
LOOPBACK = ("127.0.0.1", "localhost", "::1")
CLIENTS = 10_000  # whose rates are remembered


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a client may ask for.

    Attributes:
        bytes: Of a request.
        rate: Requests a second of one address, on average; twenty times as many at once.
        hosts: Names by which the server may be addressed; none for any.
        token: That every request to `/api` has to bring; None where none is asked for.
    """

    bytes: int = 20_000_000
    rate: float = 50.0
    hosts: tuple[str, ...] = LOOPBACK
    token: str | None = None


class Guard:
    """ASGI middleware.

    Args:
        app: The application.
        limits: What is let through.
    """

    def __init__(self, app: object, limits: Limits):
        self.app, self.limits, self.clients = app, limits, {}

    async def __call__(self, scope, receive, send):
        """Refuses a request, or hands it on; every answer gets the headers that keep pages of others out."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal:
            await _answer(send, *refusal)
            return
        counted = _Counted(receive, self.limits.bytes)
        await self.app(scope, counted, _answers(send, counted, self.limits.bytes))

    def _refusal(self, scope, headers):
        """Status and reason, or None."""
        limits, host = self.limits, urlsplit(f"//{headers.get('host', '')}").hostname or ""
        if limits.hosts and host not in limits.hosts:
            return 421, f"this server is not {host or 'nobody'!r}."
        origin = headers.get("origin")
        if origin and scope["method"] not in ("GET", "HEAD") and urlsplit(origin).netloc != headers.get("host"):
            return 403, "requests from other pages are refused."
        if not headers.get("content-length", "0").isdecimal() or int(headers.get("content-length", "0")) > limits.bytes:
            return 413, f"the request is larger than {limits.bytes:,} bytes."
        if not self._in_time((scope.get("client") or ("",))[0]):
            return 429, f"more than {limits.rate:g} requests a second."
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if (
            limits.token
            and scope["path"].startswith("/api")
            and not hmac.compare_digest(given.encode(), limits.token.encode())
        ):
            return 401, "a token is needed: Authorization: Bearer TOKEN."
        return None

    def _in_time(self, client):
        """Whether a client may ask again: a bucket that fills with time."""
        now, most = time.monotonic(), 20 * self.limits.rate
        left, last = self.clients.get(client, (most, now))
        left = min(left + (now - last) * self.limits.rate, most)
        if len(self.clients) > CLIENTS:
            self.clients.clear()
        self.clients[client] = (max(left - 1, 0), now)
        return left >= 1


class _Counted:
    """A request's body, up to so many bytes; behind them the client is gone, as far as the application knows."""

    def __init__(self, receive, most):
        self.receive, self.left, self.answered = receive, most, False

    async def __call__(self):
        message = await self.receive() if self.left >= 0 else {}
        self.left -= len(message.get("body", b""))
        return message if self.left >= 0 else {"type": "http.disconnect"}


def _answers(send, counted, most):
    """The application's answer with more headers; of a body that was too long, the refusal."""

    async def sent(message):
        if counted.left < 0:
            if not counted.answered:
                counted.answered = True
                await _answer(send, 413, f"the request is larger than {most:,} bytes.")
            return
        if message["type"] == "http.response.start":
            counted.answered = True
            known = {name.lower() for name, _ in message["headers"]}
            more = [(name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in known]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return sent


async def _answer(send, status, reason):
    body = json.dumps({"detail": reason}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    headers += [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
