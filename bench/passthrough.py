"""A pass-through gateway to measure against: G.711 from end to end, base64 forwarded as it is, no DSP, no record.

About the least that can stand between a carrier and a Realtime model and still be interrupted. In `plain` form it is
written the usual way (the standard library's JSON, every message parsed, written anew and paced by nobody); in `lean`
form it has orjson and the fastest settings. Both are on uvloop. Neither checks a signature or keeps anything.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

LEAN = sys.argv[1:2] == ["lean"]
PORT = int(os.environ["PORT"])
MODEL_URL = os.environ["OPENAI_REALTIME_ENDPOINT"]
FORMAT = {"type": "audio/pcmu"}
SESSION = {
    "type": "realtime",
    "output_modalities": ["audio"],
    "audio": {"input": {"format": FORMAT, "turn_detection": {"type": "server_vad"}}, "output": {"format": FORMAT}},
}

loads: Callable[[Any], Any] = orjson.loads if LEAN else json.loads
dumps: Callable[[Any], str] = (lambda value: orjson.dumps(value).decode()) if LEAN else json.dumps


async def answer(_request: Request) -> Response:
    twiml = f'<Response><Connect><Stream url="ws://127.0.0.1:{PORT}/ws"/></Connect></Response>'
    return Response(twiml, media_type="text/xml")


class Call:
    """One call: what both directions have to know of each other."""

    def __init__(self, caller: WebSocket, model: ClientConnection) -> None:
        self.caller, self.model = caller, model
        self.stream_sid = ""
        self.timestamp = self.response_began = 0
        self.item_id = ""
        self.marks = 0

    async def listen(self) -> None:
        try:
            async for text in self.caller.iter_text():
                message = loads(text)
                if message["event"] == "media":
                    self.timestamp = int(message["media"]["timestamp"])
                    append = {"type": "input_audio_buffer.append", "audio": message["media"]["payload"]}
                    await self.model.send(dumps(append))
                elif message["event"] == "start":
                    self.stream_sid = message["start"]["streamSid"]
                elif message["event"] == "mark":
                    self.marks = max(0, self.marks - 1)
                elif message["event"] == "stop":
                    break
        except (WebSocketDisconnect, ConnectionClosed):
            pass
        await self.model.close()

    async def talk(self) -> None:
        async for text in self.model:
            event = loads(text)
            if event["type"] == "response.output_audio.delta":
                await self.play(event)
            elif event["type"] == "input_audio_buffer.speech_started":
                await self.cut()

    async def play(self, event: dict[str, Any]) -> None:
        sid = self.stream_sid
        await self.caller.send_text(dumps({"event": "media", "streamSid": sid, "media": {"payload": event["delta"]}}))
        if event["item_id"] != self.item_id:
            self.item_id, self.response_began = event["item_id"], self.timestamp
        self.marks += 1
        await self.caller.send_text(dumps({"event": "mark", "streamSid": sid, "mark": {"name": "part"}}))

    async def cut(self) -> None:
        if not (self.marks and self.item_id):
            return
        heard_ms = self.timestamp - self.response_began
        truncate = {"type": "conversation.item.truncate", "item_id": self.item_id, "content_index": 0}
        await self.caller.send_text(dumps({"event": "clear", "streamSid": self.stream_sid}))
        await self.model.send(dumps(truncate | {"audio_end_ms": heard_ms}))
        self.marks = 0


async def media_stream(websocket: WebSocket) -> None:
    await websocket.accept()
    settings: dict[str, Any] = {"compression": None, "ping_interval": None} if LEAN else {}
    async with connect(MODEL_URL, proxy=None, **settings) as model:
        await model.send(dumps({"type": "session.update", "session": SESSION}))
        call = Call(websocket, model)
        await asyncio.gather(call.listen(), call.talk())


app = Starlette(
    routes=[Route("/twilio/answer", answer, methods=["POST"]), WebSocketRoute("/ws", media_stream)],
)

if __name__ == "__main__":
    quick: dict[str, Any] = {"ws_per_message_deflate": False, "ws_ping_interval": None} if LEAN else {}
    uvicorn.run(app, host="127.0.0.1", port=PORT, loop="uvloop", log_level="warning", **quick)
    sys.exit(0)
