"""One JSON object a line, in a fixed order of fields, with nothing in it that must not be there."""

from __future__ import annotations

import asyncio
import io
import logging
import re
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from voice_gateway.ops import logs

Lines = Callable[[], list[dict[str, Any]]]

CALL_SID = "CA" + "0123456789abcdef" * 2


def fail(message: str) -> None:
    raise ValueError(message)


def test_a_line_holds_the_fields_of_a_call_in_their_order(lines: Lines):
    log = logs.get("caller.socket", direction="inbound", from_number="+15551234567", to_number="+15557654321")
    log.bind(call_sid=CALL_SID, correlation_id="c-1").info("twilio.session.started", stream_sid="MZ1", waited_ms=12)
    (line,) = lines()
    assert list(line) == [
        "level", "time", "service", "pid", "msg", "logger", "correlationId", "callSid", "from", "to", "direction",
        "streamSid", "waitedMs",
    ]  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert (line["level"], line["service"], line["msg"]) == ("info", "voice-agent", "twilio.session.started")
    assert (line["callSid"], line["from"], line["to"]) == (CALL_SID, "+1555***4567", "+1555***4321")
    assert line["waitedMs"] == 12


def test_every_level_writes_its_name(lines: Lines):
    log = logs.get("x")
    logs.configure("debug", stream=logs._outlet.stream)
    for level in ("debug", "info", "warning", "error"):
        getattr(log, level)("x.happened")
    assert [line["level"] for line in lines()] == ["debug", "info", "warning", "error"]


def test_a_level_that_is_off_writes_nothing_and_renders_nothing(lines: Lines):
    rendered: list[object] = []

    class Watched:
        def __str__(self) -> str:
            rendered.append(self)
            return ""

    logs.get("x").debug("x.happened", value=Watched())
    assert (lines(), rendered) == ([], [])


def test_loggers_made_before_configure_follow_it(written: io.StringIO):
    log = logs.get("x")
    other = io.StringIO()
    logs.configure("warning", stream=other, secrets=["a-new-secret"])
    log.info("x.ignored")
    log.warning("x.happened", why="a-new-secret")
    assert written.getvalue() == ""
    assert '"why":"***"' in other.getvalue()


def test_secrets_and_numbers_are_hidden_in_every_field(written: io.StringIO, lines: Lines):
    logs.configure("info", stream=written, secrets=["registered-secret"])
    logs.get("x").warning(
        "x.refused",
        detail="call of +1 (555) 123-4567 with registered-secret",
        nested={"headers": ["Bearer abcdefgh"]},
        token="one-time-token",  # the field's name is enough
        caller="5551234567",
        audio=b"\xff" * 160,
    )
    (line,) = lines()
    assert line["detail"] == "call of +1555***4567 with ***"
    assert line["nested"] == {"headers": ["Bearer ***"]}
    assert (line["token"], line["caller"], line["audio"]) == ("***", "5551***67", "<160 bytes>")


def test_a_secret_in_a_number_field_is_hidden_whole(written: io.StringIO, lines: Lines):
    logs.configure("info", stream=written, secrets=["15551234567000"])
    logs.get("x").info("x.happened", from_number="15551234567000")
    assert lines()[0]["from"] == "***"


def test_an_exception_is_one_line_with_its_secrets_hidden(written: io.StringIO, lines: Lines):
    try:
        fail("no route to +15551234567 with sk-abcdefghijklmnopqrst")
    except ValueError:
        logs.get("x").exception("x.failed")
    (line,) = lines()
    assert line["level"] == "error"
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: no route to +1555***4567 with sk-***")
    assert written.getvalue().count("\n") == 1


def test_a_line_break_of_a_far_side_makes_no_second_line(written: io.StringIO):
    logs.get("x").info("x.happened", said='a\nb\r\n{"level":"error"}')
    assert len(written.getvalue().splitlines()) == 1


@pytest.mark.parametrize("value", ["\ud800", 2**80, float("nan"), {1: {2, 3}}, ValueError("x"), object])
def test_no_value_breaks_a_line(lines: Lines, value: object):
    logs.get("x").info("x.happened", value=value)
    assert lines()[0]["msg"] == "x.happened"


def test_a_field_cannot_replace_what_every_line_has(lines: Lines):
    logs.get("x").info("x.happened", level="off", pid=1, service="other")
    (line,) = lines()
    assert (line["level"], line["service"]) == ("info", "voice-agent")
    assert (line["level_"], line["pid_"]) == ("off", 1)


def test_libraries_go_the_same_way(lines: Lines):
    logging.getLogger("uvicorn.error").warning("Started server process [%d]", 7)
    logging.getLogger("twilio").error("cannot reach %s", "+15551234567")
    first, second = lines()
    assert (first["msg"], first["logger"], first["detail"]) == (
        "library.log",
        "uvicorn.error",
        "Started server process [7]",
    )
    assert second["detail"] == "cannot reach +1555***4567"


@pytest.mark.parametrize(
    "name", ["websockets.client", "httpx", "httpcore.http11", "uvicorn.access", "twilio.http_client"]
)
def test_libraries_that_print_what_they_send_stay_quiet_even_at_debug(written: io.StringIO, name: str):
    logs.configure("debug", stream=written)
    library = logging.getLogger(name)
    library.debug("> TEXT %s", "audio and words")
    library.info("POST %s", "/?key=1")
    assert written.getvalue() == ""


def test_a_library_record_with_wrong_arguments_breaks_nothing(
    written: io.StringIO, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logging.getLogger("some.library").warning("%d calls", "not a number")
    assert written.getvalue() == ""
    assert capsys.readouterr().err == ""


def test_an_error_nobody_awaited_is_logged_with_its_number_hidden(lines: Lines):
    loop = asyncio.new_event_loop()
    loop.call_exception_handler({"message": "lost", "exception": ValueError("to +15551234567")})
    loop.close()
    (line,) = lines()
    assert line["logger"] == "asyncio"
    assert "+1555***4567" in line["exception"]


def test_a_second_configure_does_not_write_lines_twice(written: io.StringIO, lines: Lines):
    logs.configure("info", stream=written)
    logs.configure("info", stream=written)
    logging.getLogger("uvicorn").warning("once")
    assert len(lines()) == 1


def test_a_plain_console_handler_is_replaced(written: io.StringIO, capsys: pytest.CaptureFixture[str]):
    logging.getLogger().addHandler(logging.StreamHandler(sys.stderr))
    logs.configure("info", stream=written)
    logging.getLogger("some.library").warning("+15551234567")
    assert capsys.readouterr().err == ""


def test_structlog_used_directly_is_scrubbed_too(lines: Lines):
    structlog.get_logger().info("x.happened", to_number="+15551234567")
    assert lines()[0]["to"] == "+1555***4567"


def test_fields_bound_to_the_context_are_on_every_line_of_it(lines: Lines):
    with structlog.contextvars.bound_contextvars(call_sid=CALL_SID):
        logging.getLogger("some.library").warning("within")
    logs.get("x").info("x.after")
    assert [line.get("callSid") for line in lines()] == [CALL_SID, None]


def test_a_stream_that_is_gone_ends_nothing():
    stream = io.StringIO()
    logs.configure("info", stream=stream)
    stream.close()
    logs.get("x").info("x.happened")
    logs.configure("info")


def test_threads_write_whole_lines(written: io.StringIO, lines: Lines):
    def write() -> None:
        for _ in range(20):
            logs.get("x").info("x.happened", text="y" * 200)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines()) == 80


# --- for people ---


def test_a_terminal_gets_colours_and_what_differs_from_line_to_line(written: io.StringIO):
    logs.configure("info", stream=written, color=True)
    logs.get("x").info("twilio.session.started", from_number="+15551234567")
    text = written.getvalue()
    assert "\x1b[" in text
    assert "twilio.session.started" in text
    assert "+1555***4567" in text
    assert "voice-agent" not in text


def test_a_stream_that_is_a_terminal_gets_colours_by_itself(written: io.StringIO):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    logs.configure("info", stream=terminal)
    logs.get("x").info("x.happened")
    assert "\x1b[" in terminal.getvalue()
    assert written.getvalue() == ""


def test_a_terminal_is_not_commanded_by_what_a_far_side_sends(written: io.StringIO):
    logs.configure("info", stream=written, color=True)
    logs.get("x").info("x.happened", said="\x1b]0;owned\x07")
    assert "\x1b]0;" not in written.getvalue()
    assert "\\x1b]0;owned" in written.getvalue()


def test_an_exception_on_a_terminal_shows_no_local_variables(written: io.StringIO):
    logs.configure("info", stream=written, color=True)
    hidden = "value-of-a-local-variable"
    try:
        fail(str(len(hidden)))
    except ValueError:
        logs.get("x").exception("x.failed")
    assert "ValueError" in written.getvalue()
    assert hidden not in written.getvalue()
