"""`<Connect><Stream>`: what the carrier refuses, how it connects, and what it tells the stream's statusCallback."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from urllib.parse import urlsplit

from voice_gateway.emulator.carrier_office import Office, new_sid
from voice_gateway.emulator.carrier_stream import MediaStream, Offer, StreamEnd
from voice_gateway.emulator.carrier_web import is_loopback, resolve, stream_url
from voice_gateway.emulator.phone_call import PhoneCall
from voice_gateway.emulator.stream_messages import StreamWriter
from voice_gateway.emulator.twiml_reader import Stream


class Connection:
    """One `<Stream>` being performed for a call. base: URL of the document it stands in."""

    def __init__(self, call: PhoneCall, office: Office, noun: Stream, base: str) -> None:
        self.stream_sid = new_sid("MZ")
        self._live: MediaStream | None = None
        self._call = call
        self._office = office
        self._noun = noun
        self._base = base

    def lose_stop(self) -> None:
        """The stop message will not get through."""
        if self._live is not None:
            self._live.stop_message = False

    async def run(self) -> None:
        """Until the server ends the stream, or cannot be connected to: either way the call goes on."""
        url = stream_url(self._base, self._noun.url)
        try:
            end = self._refusal(url) or await self._stream(url)
        except asyncio.CancelledError:
            self._tell("stream-stopped")
            raise
        if end.code:
            self._call.warn(end.code, end.reason)
            self._tell("stream-error", f"{end.code}: {end.reason}")
        else:
            self._tell("stream-stopped")

    async def _stream(self, url: str) -> StreamEnd:
        office = self._office
        offer = Offer(office.web.reach.address(url), office.web.signer.headers(url, {}), self._noun.parameters)
        writer = StreamWriter(office.account_sid, self._call.call_sid, self.stream_sid)
        stream = MediaStream(offer, writer, office.weather, self._call, keep_audio=office.manners.keep_audio)
        stream.on_start = lambda: self._tell("stream-started")
        self._live = stream
        try:
            return await stream.run()
        finally:
            self._call.note("stream ended")
            self._call.heard_changed()

    def _refusal(self, url: str) -> StreamEnd | None:
        """Why the carrier would not even connect."""
        parts = urlsplit(url)
        local = parts.scheme == "ws" and is_loopback(parts.hostname or "") and self._office.manners.plain_ws
        if parts.scheme != "wss" and not local:
            return StreamEnd(31922, f"the stream's scheme is {parts.scheme!r}, not wss")
        if not parts.hostname:
            return StreamEnd(31923, f"the stream's URL {self._noun.url!r} names no host")
        if self._noun.track not in {"", "inbound_track"}:
            return StreamEnd(31941, f"track {self._noun.track!r}; a bidirectional stream has inbound_track only")
        if urlsplit(self._noun.url).query:
            self._call.warn(12200, "the query string of the stream's url is dropped; use <Parameter>")
        return None

    def _tell(self, event: str, error: str = "") -> None:
        fields = {
            "AccountSid": self._office.account_sid,
            "CallSid": self._call.call_sid,
            "StreamEvent": event,
            "StreamName": self._noun.name or self.stream_sid,
            "StreamSid": self.stream_sid,
            "Timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        if error:
            fields["StreamError"] = error
        callback = self._noun.status_callback
        url = resolve(self._base, callback) if callback else ""
        self._office.callback(self._call, url, fields, self._noun.status_callback_method)
