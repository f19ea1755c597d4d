"""How a foreign server is reached by HTTP: with its headers, and never for more bytes than an answer may have."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2

from voice_gateway.mcp.servers import Server

MOST_BYTES = 1024 * 1024
CONNECT_S = 10.0
STREAM_S = 300.0


def http_client(server: Server) -> httpx2.AsyncClient:
    """Follows no proxy of the environment: a header with a secret goes to the server alone."""
    return httpx2.AsyncClient(
        headers={**server.headers, "accept-encoding": "identity"},
        timeout=httpx2.Timeout(CONNECT_S, read=STREAM_S),
        transport=_Bounded(),
        trust_env=False,
    )


class _Bounded(httpx2.AsyncBaseTransport):
    """A whole body has a bound; a stream of events has one for each event, by the package's transport."""

    def __init__(self) -> None:
        self._inner = httpx2.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._inner.handle_async_request(request)
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise httpx2.RemoteProtocolError("the answer is compressed, which was not asked for", request=request)
        inner = response.stream
        whole = not response.headers.get("content-type", "").startswith("text/event-stream")
        if whole and isinstance(inner, httpx2.AsyncByteStream):
            response.stream = _Body(inner)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Body(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        length = 0
        async for chunk in self._inner:
            length += len(chunk)
            if length > MOST_BYTES:
                raise httpx2.StreamError(f"the answer has more than {MOST_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
