"""The REST side, driven by Twilio's own client library."""

import asyncio
from datetime import datetime

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from twilio.base.exceptions import TwilioRestException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

from voice_gateway.emulator.carrier import CALM, Carrier, Inline, Manners, Plan
from voice_gateway.emulator.carrier_rest import serve

# Twilio's asynchronous client still signs in the way its HTTP library has begun to give up.
pytestmark = [
    pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The 'auth' parameter is deprecated:DeprecationWarning"),
]

SID, TOKEN = "AC" + "1" * 32, "2" * 32
CALLEE, BUSY, MACHINE = "+15550100007", "+15550100008", "+15550100009"
FROM = "+15550100002"
LISTEN = '<Response><Connect action="/after"><Stream url="wss://voice.example.com/ws"/></Connect></Response>'
MANNERS = Manners(callees={BUSY: "busy", MACHINE: "machine"})


class Desk:
    """A server that is called because it asked for it."""

    def __init__(self):
        self.forms = []
        self.closes = []
        self.url = ""
        self.app = Starlette(
            routes=[WebSocketRoute("/ws", self.stream), Route("/{page:path}", self.page, methods=["GET", "POST"])]
        )

    async def page(self, request):
        self.forms.append((request.url.path, dict(await request.form())))
        text = {"/listen": LISTEN, "/second": "<Response><Say>Second</Say></Response>"}.get(request.url.path, "")
        return Response(text, media_type="text/xml")

    async def stream(self, socket):
        await socket.accept()
        while (message := await socket.receive())["type"] != "websocket.disconnect":
            pass
        self.closes.append(message["code"])

    def forms_of(self, path):
        return [form for at, form in self.forms if at == path]


@pytest.fixture
async def desk():
    desk = Desk()
    async with serve(desk.app, "127.0.0.1", 0, sockets=True) as url:
        desk.url = url
        yield desk


@pytest.fixture
async def carrier(desk):
    reach = {"voice.example.com": desk.url}
    async with Carrier(SID, TOKEN, weather=CALM, reach=reach, manners=MANNERS) as carrier:
        yield carrier


@pytest.fixture
async def client(carrier):
    async with AsyncTwilioHttpClient(timeout=5) as http_client:
        client = Client(SID, TOKEN, http_client=http_client)
        client.api.base_url = carrier.rest_url
        yield client


async def refused(awaitable):
    with pytest.raises(TwilioRestException) as caught:
        await awaitable
    return caught.value.status, caught.value.code


async def test_a_created_call_rings_asks_its_url_and_reports_every_step(desk, carrier, client):
    made = await client.calls.create_async(
        to=CALLEE,
        from_=FROM,
        url="https://voice.example.com/listen",
        status_callback="https://voice.example.com/status",
        status_callback_event=["initiated", "ringing", "answered", "completed"],
    )
    assert made.status == "queued"
    assert made.direction == "outbound-api"
    call = await carrier.next_outbound()
    assert call.call_sid == made.sid
    await call.answered()
    form = desk.forms_of("/listen")[0]
    assert (form["Direction"], form["CallStatus"], form["To"]) == ("outbound-api", "in-progress", CALLEE)
    fetched = await client.calls(made.sid).fetch_async()
    assert fetched.status == "in-progress"
    assert isinstance(fetched.date_created, datetime)
    await call.hang_up()
    told = sorted(desk.forms_of("/status"), key=lambda form: int(form["SequenceNumber"]))
    assert [form["CallStatus"] for form in told] == ["initiated", "ringing", "in-progress", "completed"]
    assert (await client.calls(made.sid).fetch_async()).status == "completed"


async def test_new_twiml_replaces_the_stream_and_its_action_is_not_asked(desk, carrier, client):
    call = await carrier.dial("https://voice.example.com/listen")
    await call.answered()
    changed = await client.calls(call.call_sid).update_async(twiml="<Response><Say>Hold on</Say></Response>")
    assert changed.sid == call.call_sid
    assert await call.ended(5) == "completed"
    assert call.said == ["Hold on"]
    assert desk.closes == [1000]
    assert desk.forms_of("/after") == []


async def test_a_new_url_is_asked_for_its_document(desk, carrier, client):
    call = await carrier.dial("https://voice.example.com/listen")
    await call.answered()
    await client.calls(call.call_sid).update_async(url="https://voice.example.com/second")
    await call.ended(5)
    assert call.said == ["Second"]


async def test_status_completed_hangs_up_and_a_dead_call_cannot_be_changed(desk, carrier, client):
    call = await carrier.dial("https://voice.example.com/listen")
    await call.answered()
    await client.calls(call.call_sid).update_async(status="completed")
    assert await call.ended(5) == "completed"
    assert desk.closes == [1000]
    assert await refused(client.calls(call.call_sid).update_async(twiml="<Response/>")) == (400, 21220)


async def test_a_busy_callee_ends_the_call_before_any_page(desk, carrier, client):
    await client.calls.create_async(
        to=BUSY, from_=FROM, twiml="<Response/>", status_callback="https://voice.example.com/status"
    )
    call = await carrier.next_outbound()
    assert await call.ended(5) == "busy"
    assert call.twiml == []
    assert [form["CallStatus"] for form in desk.forms_of("/status")] == ["busy"]


async def test_asynchronous_machine_detection_posts_four_fields_only(desk, carrier, client):
    await client.calls.create_async(
        to=MACHINE,
        from_=FROM,
        twiml="<Response><Say>Hello</Say></Response>",
        machine_detection="Enable",
        async_amd="true",
        async_amd_status_callback="https://voice.example.com/amd",
    )
    call = await carrier.next_outbound()
    await call.ended(5)
    (form,) = desk.forms_of("/amd")
    assert form["AnsweredBy"] == "machine_start"
    assert sorted(form) == ["AccountSid", "AnsweredBy", "CallSid", "MachineDetectionDuration"]


async def test_a_ringing_call_can_be_cancelled(desk):
    manners = Manners(ring_s=30)
    async with Carrier(SID, TOKEN, weather=CALM, manners=manners) as carrier, AsyncTwilioHttpClient(timeout=5) as http:
        client = Client(SID, TOKEN, http_client=http)
        client.api.base_url = carrier.rest_url
        made = await client.calls.create_async(to=CALLEE, from_=FROM, twiml="<Response/>")
        await client.calls(made.sid).update_async(status="canceled")
        call = await carrier.next_outbound()
        assert await call.ended(5) == "canceled"


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"to": "nobody", "from_": FROM, "twiml": "<Response/>"}, 21211),
        ({"to": CALLEE, "from_": "me", "twiml": "<Response/>"}, 21212),
        ({"to": CALLEE, "from_": FROM}, 21218),
        ({"to": CALLEE, "from_": FROM, "url": "nowhere"}, 21205),
        ({"to": CALLEE, "from_": FROM, "twiml": "x" * 4001}, 20001),
    ],
)
async def test_bad_orders_are_refused_with_twilios_codes(client, wanted, code):
    assert await refused(client.calls.create_async(**wanted)) == (400, code)


async def test_strangers_and_unknown_calls_are_refused(carrier, client):
    assert await refused(client.calls("CA" + "0" * 32).fetch_async()) == (404, 20404)
    async with AsyncTwilioHttpClient(timeout=5) as http_client:
        stranger = Client(SID, "wrong token", http_client=http_client)
        stranger.api.base_url = carrier.rest_url
        assert await refused(stranger.calls("CA" + "0" * 32).fetch_async()) == (401, 20003)
    async with httpx.AsyncClient(base_url=carrier.rest_url, trust_env=False) as plain:
        body = (await plain.get("/2010-04-01/Accounts/AC0/Calls/CA0.json", auth=(SID, TOKEN))).json()
        assert (body["code"], body["status"]) == (20404, 404)
        assert body["more_info"].endswith("/20404")
        assert (await plain.get("/elsewhere")).status_code == 404


async def test_too_many_requests_are_refused_on_demand_and_never_executed(carrier, client):
    carrier.refuse_rest(20429, times=2)
    for _ in range(2):
        order = client.calls.create_async(to=CALLEE, from_=FROM, twiml="<Response/>")
        assert await refused(order) == (429, 20429)
    assert not carrier.calls
    await client.calls.create_async(to=CALLEE, from_=FROM, twiml="<Response/>")
    await (await carrier.next_outbound()).ended(5)


async def test_the_time_limit_ends_a_call_that_goes_on_and_on(carrier):
    source = Inline("<Response><Pause length='60'/></Response>")
    call = carrier.create(FROM, CALLEE, Plan(source, time_limit_s=0.05))
    assert await call.ended(5) == "completed"
    assert call.now_s < 5


async def test_calls_beyond_the_rate_wait_for_their_turn(desk):
    loop = asyncio.get_running_loop()
    async with Carrier(SID, TOKEN, weather=CALM, manners=Manners(calls_per_s=10)) as carrier:
        async with AsyncTwilioHttpClient(timeout=5) as http_client:
            client = Client(SID, TOKEN, http_client=http_client)
            client.api.base_url = carrier.rest_url
            began = loop.time()
            for _ in range(3):
                await client.calls.create_async(to=CALLEE, from_=FROM, twiml="<Response/>")
        for _ in range(3):
            await (await carrier.next_outbound()).ended(5)
        assert loop.time() - began >= 0.2
