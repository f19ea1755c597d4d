"""What both legs ask of a WebSocket connection of picows: whole messages as they arrive, and its end, once.

picows checks frames and leaves three things to us: putting fragments together (RFC 6455, section 5.4), the bits of
extensions that nobody agreed on (5.2), and answering a close (5.5.1).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSProtocolError, WSTransport

if TYPE_CHECKING:
    from picows.picows import WSCloseHandshake

_LONGEST_REASON: Final = 123  # what a control frame holds besides the code
ABNORMAL: Final = 1006
NO_CODE: Final = 1005
_TEXT, _BINARY, _MORE, _CLOSE = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION, WSMsgType.CLOSE

_log: Final = logging.getLogger("voice_gateway.wire")


class FaultsOnly:
    """The log for picows: our own faults and nothing else. It tells of every connection, and may of every header.

    What matters of a far side's mistakes reaches the legs as an end.
    """

    def isEnabledFor(self, _level: int) -> bool:  # noqa: N802 - as in logging
        return False

    def log(self, *_args: object, **_more: object) -> None:
        """Nothing."""

    debug = info = warning = error = log

    def exception(self, message: str, *args: object) -> None:
        _log.exception(message, *args)


@dataclass(frozen=True, slots=True)
class Ended:
    """Why a connection is over. code: of the close frame; 1005 without one in it, 1006 when the connection broke.

    ours: whether we began the end, be it that the far side had broken the protocol.
    """

    code: int
    reason: str = ""
    ours: bool = False


class Wire(WSListener):
    """One connection, as picows calls it.

    on_message: is given each whole message, and whether it is text. on_end: is told as soon as the end is known, and
    nothing is given afterwards. Both are called in the step of the event loop that read the bytes.
    on_flow: is told False when much of what was written waits for the far side to read, and True when little does.
    on_gone: nothing is left of the connection.
    transport: there once the connection is open.
    """

    transport: WSTransport

    def __init__(
        self,
        most_bytes: int,
        on_message: Callable[[bytes, bool], None],
        on_end: Callable[[Ended], None],
        *,
        on_flow: Callable[[bool], None] = lambda _free: None,
        on_gone: Callable[[], None] = lambda: None,
    ) -> None:
        """most_bytes: of one message. Beyond them the connection ends with 1009."""
        self._most_bytes = most_bytes
        self._on_message = on_message
        self._on_end = on_end
        self._on_flow = on_flow
        self._on_gone = on_gone
        self._gathered = bytearray()
        self._is_text: bool | None = None  # what is being gathered; None between messages
        self._told = False
        self._deaf = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if transport.is_close_frame_sent and kind is not _CLOSE:
            if self._deaf:
                return
            # picows reads one frame ahead: a mistake behind this one, which is still good.
            self._deaf = True
        if kind is _CLOSE:
            self._closed(transport, frame)
        elif frame.payload_size > self._most_bytes:
            return  # picows has said 1009 and goes on reading until its transport is closed
        elif frame.rsv1 or frame.rsv2 or frame.rsv3:
            self.fail(WSCloseCode.PROTOCOL_ERROR, "reserved bits must be 0")
        elif kind is _TEXT and frame.fin and self._is_text is None:
            self._on_message(frame.get_payload_as_bytes(), True)  # noqa: FBT003 - the callback's shape
        elif kind in (_TEXT, _BINARY, _MORE):
            self._gather(kind, frame)

    def _gather(self, kind: WSMsgType, frame: WSFrame) -> None:
        if (kind is _MORE) != (self._is_text is not None):
            self.fail(WSCloseCode.PROTOCOL_ERROR, "fragments out of order")
        if kind is not _MORE:
            self._is_text = kind is _TEXT
        self._gathered += frame.get_payload_as_memoryview()
        if len(self._gathered) > self._most_bytes:
            self.fail(WSCloseCode.MESSAGE_TOO_BIG, f"over size limit ({self._most_bytes} bytes)")
        if frame.fin:
            message, is_text = bytes(self._gathered), bool(self._is_text)
            self._gathered, self._is_text = bytearray(), None
            self._on_message(message, is_text)

    def _closed(self, transport: WSTransport, frame: WSFrame) -> None:
        if not transport.is_close_frame_sent:
            code = int(frame.get_close_code().value) if frame.payload_size else NO_CODE
            if not 1000 <= code < 5000 or code == ABNORMAL:
                self.fail(WSCloseCode.PROTOCOL_ERROR, "invalid close code")
            ended = Ended(code, frame.get_close_reason() or "")
            self.close(1000 if code == NO_CODE else code, ended.reason)
            self._end(ended)
        transport.disconnect()

    def close(self, code: int, reason: str = "") -> None:
        """Say that we close. Nothing is given from now on; the transport is the caller's to end."""
        self._deaf = True
        fitting = reason.encode()[:_LONGEST_REASON].decode(errors="ignore")
        self.transport.send_close(code, fitting)  # type: ignore[arg-type]  # any code will do

    def fail(self, code: WSCloseCode, reason: str) -> NoReturn:
        """Give the connection up because of what the far side sent; to be called from `on_message`. Always raises."""
        self._deaf = True
        self._end(Ended(int(code.value), reason, ours=True))
        raise WSProtocolError(code, reason)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        said: WSCloseHandshake | None = transport.close_handshake
        if said is not None and said.sent is not None and not said.recv_then_sent:
            self._end(Ended(int(said.sent.code.value), said.sent.reason or "", ours=True))
        elif said is not None and said.recv is not None:
            self._end(Ended(int(said.recv.code.value) or NO_CODE, said.recv.reason or ""))
        else:
            self._end(Ended(ABNORMAL))
        self._on_gone()

    def _end(self, ended: Ended) -> None:
        if not self._told:
            self._told = True
            self._on_end(ended)

    def pause_writing(self) -> None:
        self._on_flow(False)  # noqa: FBT003 - the callback's shape

    def resume_writing(self) -> None:
        self._on_flow(True)  # noqa: FBT003 - the callback's shape
