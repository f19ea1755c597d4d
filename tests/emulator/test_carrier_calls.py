"""Whole calls against a small server of somebody else's making, over real HTTP and real WebSockets."""

import asyncio
import base64
import json
from itertools import pairwise

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from twilio.request_validator import RequestValidator

from voice_gateway.emulator.carrier import CALM, CallOverError, Carrier, Manners, Weather
from voice_gateway.emulator.carrier_rest import serve
from voice_gateway.emulator.performance import Part, perform
from voice_gateway.emulator.scenarios import HangUp, Scenario, WaitForAnswer

SID, TOKEN = "AC" + "1" * 32, "2" * 32
PUBLIC = "https://voice.example.com"
STREAM = (
    '<Response><Say>Welcome</Say><Connect action="/after"><Stream url="wss://voice.example.com/ws" '
    'statusCallback="/stream-status"><Parameter name="token" value="t1"/></Stream></Connect></Response>'
)
HANGUP = "<Response><Hangup/></Response>"
TONE = b"\x20"


class Desk:
    """The server under the carrier's hands: what it answers is set by a test, what it saw is kept."""

    def __init__(self):
        self.pages = {"/answer": STREAM, "/after": HANGUP}
        self.forms = []
        self.upgrades = []
        self.messages = []
        self.closes = []
        self.closed = asyncio.Event()
        self.started = asyncio.Event()
        self.socket = None
        self.stream_sid = ""
        self.refuse = False
        self.url = ""
        self.app = Starlette(
            routes=[
                WebSocketRoute("/ws", self.stream),
                Route("/{page:path}", self.page, methods=["GET", "POST"]),
            ]
        )

    async def page(self, request):
        form = dict(await request.form())
        public = PUBLIC + request.url.path
        valid = RequestValidator(TOKEN).validate(public, form, request.headers.get("x-twilio-signature", ""))
        self.forms.append((request.url.path, form, valid))
        answer = self.pages.get(request.url.path, "")
        if isinstance(answer, Response):
            return answer
        if callable(answer):
            return await answer()
        return Response(answer, media_type="text/xml")

    async def stream(self, socket):
        signed = socket.headers.get("x-twilio-signature", "")
        self.upgrades.append(RequestValidator(TOKEN).validate("wss://voice.example.com/ws", {}, signed))
        if self.refuse:
            await socket.close()
            return
        await socket.accept()
        self.socket = socket
        try:
            while True:
                message = await socket.receive()
                if message["type"] == "websocket.disconnect":
                    self.closes.append(message["code"])
                    return
                self.take(message)
        finally:
            self.closed.set()

    def take(self, message):
        if message.get("text") is None:
            self.messages.append(message["bytes"])
            return
        told = json.loads(message["text"]) if message["text"].startswith("{") else message["text"]
        self.messages.append(told)
        if isinstance(told, dict) and told["event"] == "start":
            self.stream_sid = told["streamSid"]
            self.started.set()

    async def send(self, event, **body):
        await self.socket.send_text(json.dumps({"event": event, "streamSid": self.stream_sid, **body}))

    async def play(self, ulaw):
        await self.send("media", media={"payload": base64.b64encode(ulaw).decode()})

    async def mark(self, name):
        await self.send("mark", mark={"name": name})

    def events(self, kind):
        return [message for message in self.messages if isinstance(message, dict) and message["event"] == kind]

    def forms_of(self, path):
        return [form for at, form, _ in self.forms if at == path]


@pytest.fixture
async def desk():
    """A server on loopback, known to the world as voice.example.com."""
    desk = Desk()
    async with serve(desk.app, "127.0.0.1", 0, sockets=True) as url:
        desk.url = url
        yield desk


@pytest.fixture
async def carrier():
    async with Carrier(SID, TOKEN, weather=CALM, public_base_url=PUBLIC, manners=Manners(rest_port=None)) as carrier:
        yield carrier


@pytest.fixture
async def call(desk, carrier):
    """A call whose media stream is up on both sides."""
    call = await carrier.dial(desk.url + "/answer")
    await call.answered()
    await desk.started.wait()
    return call


async def some(condition, seconds=5.0):
    """Wait for something the other side does."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition is another process's in real life: nothing tells of it
            await asyncio.sleep(0.005)


async def test_a_call_from_webhook_to_hang_up_in_realistic_messages(desk, carrier, call):
    await call.say_ulaw(TONE * 480)
    await call.hang_up()
    await desk.closed.wait()

    path, form, valid = desk.forms[0]
    assert (path, valid, desk.upgrades) == ("/answer", True, [True])
    assert form["CallSid"] == call.call_sid
    assert (form["CallStatus"], form["Direction"], form["AccountSid"]) == ("ringing", "inbound", SID)
    assert call.said == ["Welcome"]
    assert call.twiml == [STREAM]

    start = desk.events("start")[0]
    assert start["start"]["callSid"] == call.call_sid
    assert start["start"]["customParameters"] == {"token": "t1"}
    assert [message["event"] for message in desk.messages[:2]] == ["connected", "start"]
    assert desk.messages[-1]["event"] == "stop"
    assert desk.closes == [1000]
    numbered = [int(message["sequenceNumber"]) for message in desk.messages[1:]]
    assert numbered == list(range(1, len(numbered) + 1))

    media = desk.events("media")
    assert [int(frame["media"]["chunk"]) for frame in media] == list(range(1, len(media) + 1))
    assert [int(frame["media"]["timestamp"]) for frame in media] == [20 * k for k in range(len(media))]
    sound = b"".join(base64.b64decode(frame["media"]["payload"]) for frame in media)
    assert TONE * 480 in sound
    assert set(sound) == {0xFF, TONE[0]}

    assert call.outcome == "caller-hung-up"
    told = [form["StreamEvent"] for form in desk.forms_of("/stream-status")]
    assert told == ["stream-started", "stream-stopped"]
    assert desk.forms_of("/after") == []
    assert all(valid for _, _, valid in desk.forms)
    assert call.warnings == []


async def test_what_was_heard_is_what_was_played_until_the_clear(desk, call):
    await desk.play(TONE * 8000)
    await desk.mark("end")
    await call.until_heard(0.15)
    await desk.send("clear")
    await some(lambda: desk.events("mark"))
    await call.until_quiet(0.05)
    heard = call.heard_ulaw()
    assert desk.events("mark")[0]["mark"] == {"name": "end"}
    assert 1200 <= heard.count(TONE) < 4000
    assert heard.strip(b"\xff") == TONE * heard.count(TONE)
    cleared = next(event for event in call.events if event.name == "clear")
    assert cleared.details["dropped_s"] == pytest.approx(1.0 - heard.count(TONE) / 8000)
    assert call.first_heard_s == pytest.approx(call.stream_at_s + call.played[0].start_s)
    assert call.heard_between(call.played[0].start_s, call.played[0].start_s + 0.1) == TONE * 800


async def test_marks_come_back_in_order_and_not_before_their_sound_is_over(desk, call):
    loop = asyncio.get_running_loop()
    began = loop.time()
    for name in ("a", "b"):
        await desk.play(TONE * 800)
        await desk.mark(name)
    await some(lambda: len(desk.events("mark")) == 2)
    assert [message["mark"]["name"] for message in desk.events("mark")] == ["a", "b"]
    assert loop.time() - began >= 0.2


async def test_both_sides_stand_in_the_recording_where_they_sounded(desk, call):
    await desk.play(TONE * 1600)
    tone = np.full(2400, 8000, np.int16)
    await asyncio.gather(call.until_heard(0.2), call.say(tone, 24000))
    await call.hang_up()
    recording = call.recording()
    assert recording.dtype == np.int16
    assert recording.shape == (round(call.length_s * 8000), 2)
    left, right = (np.flatnonzero(np.abs(recording[:, side]) > 1000) for side in (0, 1))
    assert left.size == pytest.approx(800, abs=20)
    assert right.size == 1600
    assert left[0] % 160 <= 8


async def test_keys_become_dtmf_messages_in_order(desk, call):
    call.press("1#")
    await some(lambda: len(desk.events("dtmf")) == 2)
    assert [message["dtmf"]["digit"] for message in desk.events("dtmf")] == ["1", "#"]


async def test_invalid_messages_are_warned_of_once_and_have_no_effect(desk, call):
    for text in ("not JSON", '{"event":"media"}'):
        await desk.socket.send_text(text)
    await desk.socket.send_bytes(b"\x00")
    await desk.socket.send_bytes(b"\x00")
    await desk.mark("still alive")
    await some(lambda: desk.events("mark"))
    assert [warning.code for warning in call.warnings] == [31951, 31950]
    assert call.played == []


async def test_foreign_messages_reach_the_server_as_they_are(desk, call):
    call.send_raw("nonsense")
    call.send_raw(b"\x00\x01")
    await some(lambda: b"\x00\x01" in desk.messages)
    assert "nonsense" in desk.messages


async def test_a_stall_makes_the_timestamps_jump(desk, call):
    call.stall(0.1)
    await call.say_ulaw(TONE * 1600)
    await call.hang_up()
    await desk.closed.wait()
    stamps = [int(frame["media"]["timestamp"]) for frame in desk.events("media")]
    steps = {later - earlier for earlier, later in pairwise(stamps)}
    assert max(steps) == pytest.approx(100, abs=21)
    chunks = [int(frame["media"]["chunk"]) for frame in desk.events("media")]
    assert chunks == list(range(1, len(chunks) + 1))


async def test_a_lost_stop_is_only_a_close(desk, call):
    await call.hang_up(stop_message=False)
    await desk.closed.wait()
    assert desk.events("stop") == []
    assert call.outcome == "caller-hung-up"


async def test_a_dropped_connection_is_1006_and_the_call_goes_on_with_the_action(desk, call):
    await call.drop()
    await desk.closed.wait()
    assert await call.ended(5) == "completed"
    assert desk.closes[0] in {1005, 1006}
    assert desk.forms_of("/stream-status")[-1]["StreamEvent"] == "stream-error"
    assert desk.forms_of("/after")[0]["CallStatus"] == "in-progress"


async def test_when_the_server_closes_the_stream_its_action_says_what_comes_next(desk, call):
    desk.pages["/after"] = "<Response><Say>Goodbye</Say><Dial>+15550100009</Dial></Response>"
    stream_sid = call.stream_sid
    await desk.socket.close(1000)
    assert await call.ended(5) == "transferred"
    assert call.said == ["Welcome", "Goodbye"]
    assert call.dialled[0].targets == (("Number", "+15550100009"),)
    assert desk.forms_of("/after")[0]["StreamSid"] == stream_sid
    assert desk.forms_of("/stream-status")[-1]["StreamEvent"] == "stream-stopped"


async def test_the_action_may_connect_a_second_stream_of_the_same_call(desk, call):
    first = call.stream_sid
    desk.pages["/after"] = STREAM
    await desk.play(TONE * 400)
    await call.until_heard(0.05)
    desk.started.clear()
    await desk.socket.close(1000)
    await desk.started.wait()
    await desk.play(TONE * 400)
    await call.until_heard(0.05)
    await call.hang_up()
    assert call.stream_sid != first
    assert len(desk.events("start")) == 2
    assert call.heard_ulaw().count(TONE) == 800


async def test_a_dial_without_answer_comes_back_through_its_action(desk):
    desk.pages["/answer"] = '<Response><Dial action="/dialled">+15550100009</Dial></Response>'
    desk.pages["/dialled"] = "<Response><Say>Nobody is there</Say></Response>"
    async with Carrier(
        SID, TOKEN, weather=CALM, public_base_url=PUBLIC, manners=Manners(dial_status="no-answer")
    ) as carrier:
        call = await carrier.dial(desk.url + "/answer")
        assert await call.ended(5) == "completed"
    assert call.said == ["Nobody is there"]
    assert desk.forms_of("/dialled")[0]["DialCallStatus"] == "no-answer"


async def test_a_keypad_menu_posts_the_digits(desk, carrier):
    desk.pages["/answer"] = '<Response><Gather numDigits="2" action="/menu"><Say>Choose</Say></Gather></Response>'
    desk.pages["/menu"] = "<Response><Say>Chosen</Say></Response>"
    call = await carrier.dial(desk.url + "/answer")
    call.press("42")
    await call.ended(5)
    assert desk.forms_of("/menu")[0]["Digits"] == "42"
    assert call.said == ["Choose", "Chosen"]


async def test_a_key_cuts_the_prompt_short(desk):
    desk.pages["/answer"] = (
        '<Response><Gather numDigits="1" action="/menu"><Say>A long sentence of the house</Say><Say>More</Say></Gather>'
        "</Response>"
    )
    desk.pages["/menu"] = "<Response/>"
    slow = Manners(say_chars_per_s=0.1)
    async with Carrier(SID, TOKEN, weather=CALM, public_base_url=PUBLIC, manners=slow) as carrier:
        call = await carrier.dial(desk.url + "/answer")
        await some(lambda: bool(call.said))
        call.press("1")
        assert await call.ended(5) == "completed"
    assert desk.forms_of("/menu")[0]["Digits"] == "1"
    assert call.said == ["A long sentence of the house"]
    assert [event.name for event in call.events if event.name in {"say", "prompt cut", "gathered"}] == [
        "say",
        "prompt cut",
        "gathered",
    ]


async def test_redirect_reject_and_the_status_callback(desk, carrier):
    desk.pages["/answer"] = '<Response><Redirect method="POST">/second</Redirect></Response>'
    desk.pages["/second"] = "<Response><Pause length='0'/></Response>"
    desk.pages["/busy"] = '<Response><Reject reason="busy"/></Response>'
    call = await carrier.dial(desk.url + "/answer", status_callback=desk.url + "/status")
    assert await call.ended(5) == "completed"
    busy = await carrier.dial(desk.url + "/busy", status_callback=desk.url + "/status")
    assert await busy.ended(5) == "busy"
    first, second = desk.forms_of("/status")
    assert (first["CallStatus"], first["CallDuration"], first["SequenceNumber"]) == ("completed", "0", "0")
    assert first["CallbackSource"] == "call-progress-events"
    assert second["CallStatus"] == "busy"
    assert "CallDuration" not in second


async def test_a_reposted_webhook_has_the_same_call_and_the_second_answer_counts(desk, carrier):
    answers = iter(["<Response><Say>one</Say></Response>", "<Response><Say>two</Say></Response>"])

    async def answer():
        return Response(next(answers), media_type="text/xml")

    desk.pages["/answer"] = answer
    call = await carrier.dial(desk.url + "/answer", repost=True, call_sid="CA" + "3" * 32, from_number="anonymous")
    await call.ended(5)
    forms = desk.forms_of("/answer")
    assert [form["CallSid"] for form in forms] == ["CA" + "3" * 32] * 2
    assert forms[0]["From"] == "anonymous"
    assert call.said == ["two"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Response("no", 500), 11200),
        (Response("<Response/>", media_type="text/plain"), 12300),
        ("<Response>", 12100),
    ],
)
async def test_a_bad_answer_is_an_application_error(desk, carrier, answer, code):
    desk.pages["/answer"] = answer
    call = await carrier.dial(desk.url + "/answer")
    assert call.outcome == "application-error"
    assert call.error is not None
    assert call.error.code == code


async def test_the_fallback_saves_a_call_whose_webhook_failed(desk, carrier):
    desk.pages["/answer"] = Response("no", 503)
    desk.pages["/fallback"] = "<Response><Say>Sorry</Say></Response>"
    call = await carrier.dial(desk.url + "/answer", fallback_url=desk.url + "/fallback")
    assert await call.ended(5) == "completed"
    assert call.said == ["Sorry"]
    assert desk.forms_of("/fallback")[0]["ErrorCode"] == "11200"
    assert desk.forms_of("/fallback")[0]["ErrorUrl"] == PUBLIC + "/answer"


async def test_a_webhook_that_thinks_too_long_is_given_up(desk):
    async def never():
        await asyncio.sleep(0.5)
        return Response(HANGUP, media_type="text/xml")

    desk.pages["/answer"] = never
    async with Carrier(SID, TOKEN, weather=CALM, public_base_url=PUBLIC, http_timeout_s=0.05) as carrier:
        call = await carrier.dial(desk.url + "/answer")
    assert call.outcome == "application-error"
    assert "0.05 s" in call.error.reason


async def test_nobody_listening_is_told_apart(carrier, unused_tcp_port):
    call = await carrier.dial(f"http://127.0.0.1:{unused_tcp_port}/answer")
    assert call.error.code == 11205
    with pytest.raises(CallOverError):
        await call.answered()


async def test_a_refused_upgrade_is_told_and_the_action_is_asked(desk, carrier):
    desk.refuse = True
    call = await carrier.dial(desk.url + "/answer")
    assert await call.ended(5) == "completed"
    assert [warning.code for warning in call.warnings] == [31920]
    (form,) = desk.forms_of("/stream-status")
    assert form["StreamEvent"] == "stream-error"
    assert "31920" in form["StreamError"]
    assert len(desk.forms_of("/after")) == 1


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        ('url="ws://voice.example.com/ws"', 31922),
        ('url="ws://127.0.0.1:1/ws"', 31922),
        ('url="wss:///ws"', 31923),
        ('url="wss://voice.example.com/ws" track="both_tracks"', 31941),
    ],
)
async def test_a_stream_the_carrier_would_not_connect_to(desk, carrier, stream, code):
    desk.pages["/answer"] = f"<Response><Connect><Stream {stream}/></Connect></Response>"
    call = await carrier.dial(desk.url + "/answer")
    assert await call.ended(5) == "completed"
    assert [warning.code for warning in call.warnings] == [code]
    assert desk.upgrades == []


async def test_plain_ws_to_this_machine_works_when_allowed_and_the_query_is_dropped(desk):
    address = desk.url.replace("http", "ws")
    desk.pages["/answer"] = f'<Response><Connect><Stream url="{address}/ws?token=1"/></Connect></Response>'
    async with Carrier(SID, TOKEN, weather=CALM, manners=Manners(plain_ws=True)) as carrier:
        call = await carrier.dial(desk.url + "/answer")
        await call.answered()
        assert [warning.code for warning in call.warnings] == [12200]
        assert desk.socket is None or desk.socket.url.query == ""


@pytest.mark.parametrize("signing", ["wrong", "none"])
async def test_bad_signatures_are_bad_on_http_and_on_the_upgrade(desk, signing):
    async with Carrier(SID, TOKEN, weather=CALM, public_base_url=PUBLIC, signing=signing) as carrier:
        call = await carrier.dial(desk.url + "/answer")
        await call.answered()
        assert desk.forms[0][2] is False
        assert desk.upgrades == [False]


async def test_unruly_callbacks_come_late_backwards_and_twice(desk):
    async with Carrier(
        SID, TOKEN, weather=CALM, public_base_url=PUBLIC, manners=Manners(unruly_callbacks=True)
    ) as carrier:
        call = await carrier.dial(desk.url + "/answer")
        await call.answered()
        assert desk.forms_of("/stream-status") == []
        await call.hang_up()
    told = sorted(form["StreamEvent"] for form in desk.forms_of("/stream-status"))
    assert told == ["stream-started"] * 2 + ["stream-stopped"] * 2


async def test_a_hang_up_in_mid_sentence_releases_the_caller(desk, call):
    speaking = asyncio.create_task(call.say_ulaw(TONE * 80000))
    await some(lambda: any(TONE in base64.b64decode(frame["media"]["payload"]) for frame in desk.events("media")))
    await call.hang_up()
    with pytest.raises(CallOverError):
        await speaking
    assert len(call.caller_ulaw()) < 16000
    with pytest.raises(CallOverError):
        await call.say_ulaw(TONE)
    await call.hang_up()


async def test_waiting_for_sound_ends_with_the_call_or_with_patience(desk, call):
    with pytest.raises(TimeoutError):
        await call.until_heard(0.1, timeout_s=0.02)
    waiting = asyncio.create_task(call.until_heard(0.1))
    await asyncio.sleep(0)
    await call.hang_up()
    with pytest.raises(CallOverError):
        await waiting
    await call.until_quiet(0.1)


async def test_a_caller_who_is_asked_for_a_moment_waits_for_the_answer(desk, call):
    part = Part(Scenario("asked", "", (WaitForAnswer(), HangUp()), supervised=True), {})
    performing = asyncio.create_task(perform(call, part, pause_s=0.05))
    await desk.play(TONE * 1600)
    await call.until_heard(0.2)
    await call.until_quiet(0.15)
    await desk.play(TONE * 1600)
    await performing
    assert call.outcome == "caller-hung-up"
    assert call.heard_ulaw().count(TONE) == 3200


async def test_silence_sent_by_the_server_is_not_waited_for(desk, call):
    await desk.play(b"\xff" * 80000)
    await call.until_quiet(0.02, timeout_s=1)
    with pytest.raises(TimeoutError):
        await call.until_heard(0.01, timeout_s=0.05)


async def test_the_weather_lies_between_server_and_ear(desk):
    weather = Weather(one_way_s=0.08, jitter_buffer_s=0.06)
    async with Carrier(SID, TOKEN, weather=weather, public_base_url=PUBLIC) as carrier:
        call = await carrier.dial(desk.url + "/answer")
        await desk.started.wait()
        sent_s = call.now_s
        await desk.play(TONE * 160)
        await desk.mark("back")
        await some(lambda: desk.events("mark"))
        assert call.first_heard_s - sent_s >= 0.14
        assert call.now_s - sent_s >= 0.24
        assert desk.events("media")[0]["media"]["timestamp"] == "0"


async def test_leaving_the_carrier_hangs_up_and_leaves_no_task(desk):
    before = asyncio.all_tasks()
    async with Carrier(SID, TOKEN, weather=CALM, public_base_url=PUBLIC) as carrier:
        calls = [await carrier.dial(desk.url + "/answer") for _ in range(5)]
        await asyncio.gather(*(call.answered() for call in calls))
    assert {call.outcome for call in calls} == {"caller-hung-up"}
    await some(lambda: not {task for task in asyncio.all_tasks() - before if "carrier" in task.get_name()})
