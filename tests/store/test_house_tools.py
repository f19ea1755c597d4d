"""Every tool of the house over real rows, in SQLite and in a project of Supabase's: both answer the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import orjson
import pytest

from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.agent.tools import ToolContext
from voice_gateway.store.diary import Appointment, Hours, Wish
from voice_gateway.store.orders import Message
from voice_gateway.store.savings import Voucher
from voice_gateway.store.tables import Tables

Over: TypeAlias = Callable[[Hours], Awaitable[Tables]]
Read: TypeAlias = Callable[[str], list[tuple[Any, ...]]]
NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)  # a Monday
CALLER = "+250788000123"
KIGALI = ZoneInfo("Africa/Kigali")
MALTA = ZoneInfo("Europe/Malta")


@pytest.fixture
async def context(tables_over: Over) -> ToolContext:
    return ToolContext("CA1", from_number=CALLER, now=NOW, tables=await tables_over(Hours(KIGALI)))


@pytest.fixture
def tables(context: ToolContext) -> Tables:
    assert context.tables is not None
    return context.tables


async def ask(context: ToolContext, tool: str, /, **arguments: Any) -> Any:
    outcome = await house_toolbox().run(tool, orjson.dumps(arguments).decode(), context)
    return orjson.loads(outcome.output)


# --- orders -----------------------------------------------------------------------------------------------------


async def test_an_order_is_placed_line_by_line_and_adds_up(context: ToolContext, tables: Tables) -> None:
    await ask(context, "place_order", item="rw-cap", quantity=2)
    answer = await ask(context, "place_order", item="Goat Brochette")
    assert answer["success"]
    assert answer["order"] == [{"name": "Cappuccino", "quantity": 2}, {"name": "Goat Brochette", "quantity": 1}]
    assert (answer["total"], answer["currency"]) == (10_500, "RWF")
    lines = await tables.orders.of_call("CA1")
    assert [(line.item_id, line.quantity) for line in lines] == [("rw-cap", 2), ("rw-bro", 1)]


async def test_two_currencies_are_not_added_up(context: ToolContext) -> None:
    await ask(context, "place_order", item="rw-cap", quantity=2)
    answer = await ask(context, "place_order", item="mt-cis", quantity=3)
    assert (answer["total"], answer["currency"]) == (10.5, "EUR")
    assert answer["totals"] == {"RWF": 6000, "EUR": 10.5}


async def test_the_same_key_is_the_same_order(context: ToolContext, tables: Tables) -> None:
    keyed = replace(context, key="CA1:wish:1")
    first = await ask(keyed, "place_order", item="rw-cap", quantity=2)
    again = await ask(keyed, "place_order", item="rw-cap", quantity=2)
    assert first["orderId"] == again["orderId"]
    assert len(await tables.orders.of_call("CA1")) == 1


@pytest.mark.parametrize("quantity", [0, -1, 100, 2.5, "many"])
async def test_a_quantity_nobody_can_carry_is_refused_in_words(quantity: object) -> None:
    answer = await ask(ToolContext("CA1"), "place_order", item="rw-cap", quantity=quantity)
    assert answer["error"] == "invalid_arguments"
    assert "quantity" in answer["message"]


async def test_an_item_that_may_be_several_is_asked_for_and_not_guessed(context: ToolContext, tables: Tables) -> None:
    answer = await ask(context, "place_order", item="coffee")
    assert answer["error"] == "failed"
    assert "Ask which one" in answer["message"]
    assert (await ask(context, "place_order", item="motor oil"))["error"] == "failed"
    assert await tables.orders.of_call("CA1") == []


async def test_the_menu_can_be_read_by_kind(context: ToolContext) -> None:
    answer = await ask(context, "get_menu", category="beer")
    assert {item["name"] for item in answer["items"]} == {"Mützig 65cl", "Cisk Lager"}
    assert "coffee" in answer["categories"]


@pytest.mark.parametrize(
    ("number", "valid"),
    [
        ("1 1990 8 0012345 0 12", True),
        ("1199080012345012", True),
        ("1201080012345012", False),
        ("1188080012345012", False),
        ("MT 123456 7", True),
        ("passport", False),
        ("12", False),
    ],
)
async def test_an_id_is_checked_as_far_as_a_number_tells(number: str, valid: bool) -> None:  # noqa: FBT001
    answer = await ask(ToolContext("CA1", now=NOW), "check_id", id_number=number)
    assert (answer["status"], answer["valid"]) == ("id_checked", valid)


# --- finance ----------------------------------------------------------------------------------------------------


async def test_a_months_books_add_up(context: ToolContext) -> None:
    answer = await ask(context, "fetch_financials", period="2026-08")
    assert (answer["revenue"], answer["cogs"], answer["ebitda"]) == (120_000, 46_000, 34_000)
    assert [line["account"] for line in answer["lines"]] == ["4000", "5000", "6000", "6100"]


async def test_a_quarter_is_the_sum_of_its_months(context: ToolContext) -> None:
    months = [await ask(context, "fetch_financials", period=period) for period in ("2026-08", "2026-09")]
    quarter = await ask(context, "fetch_financials", period="2026-Q3")
    assert quarter["revenue"] == sum(month["revenue"] for month in months)
    assert quarter["ebitda"] == pytest.approx(sum(month["ebitda"] for month in months))


async def test_a_period_without_books_says_which_there_are(context: ToolContext) -> None:
    assert "2026-08" in (await ask(context, "fetch_financials", period="2019-01"))["message"]
    assert "write a month" in (await ask(context, "fetch_financials", period="last summer"))["message"]


async def test_a_rule_comes_with_the_standard_to_cite(context: ToolContext) -> None:
    for jurisdiction, topic, authority in [
        ("UK", "VAT", "VATA 1994 s.2"),
        ("united kingdom", "corporation tax", "Finance Act 2021 s.6"),
        ("US", "corporate income tax", "IRC s.11(b)"),
        ("Canada", "gst", "Excise Tax Act s.165"),
        ("EU", "vat rate", "Directive 2006/112/EC, Article 97"),
        ("EU", "revenue recognition", "IFRS 15"),
        ("usa", "leases", "ASC 842"),
    ]:
        answer = await ask(context, "check_tax_rule", jurisdiction=jurisdiction, topic=topic)
        assert answer["authority"] == authority, (jurisdiction, topic)
        assert set(answer) == {"jurisdiction", "topic", "rule", "rate", "authority", "notes", "others"}


async def test_a_rule_nobody_has_on_file_is_not_invented(context: ToolContext) -> None:
    answer = await ask(context, "check_tax_rule", jurisdiction="Atlantis", topic="vat")
    assert answer["error"] == "failed"
    assert "rules of CA, EU, MT, UK, US" in answer["message"]


# --- savings ----------------------------------------------------------------------------------------------------


async def test_a_balance_is_told_as_clients_know_it(context: ToolContext) -> None:
    answer = await ask(context, "get_member_balance", memberId="member_123")
    assert answer == {"success": True, "memberId": "member_123", "balance": 50000, "currency": "RWF"}
    assert (await ask(context, "get_member_balance"))["memberId"] == "member_123", "by the number they call from"
    assert (await ask(context, "get_member_balance", memberId="member_999"))["error"] == "not_found"


async def test_a_voucher_is_redeemed_once_and_the_same_call_may_ask_again(context: ToolContext) -> None:
    first = await ask(context, "redeem_voucher", code="save 2024")
    assert first["success"]
    assert first["code"] == "SAVE2024"
    assert first["voucher"] == {"id": "voucher_123", "value": 1000, "type": "discount"}
    assert (await ask(context, "redeem_voucher", code="SAVE2024"))["repeat"]
    other = await ask(replace(context, call_sid="CA2"), "redeem_voucher", code="SAVE2024")
    assert (other["success"], other["error"]) == (False, "already_redeemed")
    assert (await ask(context, "redeem_voucher", code="OLD2020"))["error"] == "expired"
    assert (await ask(context, "redeem_voucher", code="NOPE"))["error"] == "not_found"


async def test_of_twenty_calls_at_once_one_redeems(tables: Tables) -> None:
    answers = await asyncio.gather(*(tables.savings.redeem("SAVE2024", f"CA{n}", NOW) for n in range(20)))
    assert sum(isinstance(answer, Voucher) for answer in answers) == 1
    assert answers.count("already_redeemed") == 19


# --- appointments -----------------------------------------------------------------------------------------------


async def test_a_day_shows_its_free_times_in_the_diarys_zone(context: ToolContext) -> None:
    answer = await ask(context, "check_availability", date="2026-12-01")
    assert answer["timezone"] == "Africa/Kigali"
    assert answer["slots"][0] == "09:00"
    assert "11:00" not in answer["slots"], "09:00 UTC is taken, which is 11 o'clock in Kigali"
    assert "12:00" not in answer["slots"]
    assert "12:30" not in answer["slots"]
    assert "11:30" in answer["slots"]
    assert answer["slots"][-1] == "16:30"


async def test_of_today_only_what_is_to_come_is_free(context: ToolContext) -> None:
    answer = await ask(context, "check_availability", date="2026-11-23")
    assert answer["slots"][0] == "10:30", "it is 10 o'clock in Kigali, and that begins now"
    assert (await ask(context, "check_availability", date="2026-11-20"))["available"] is False
    assert (await ask(context, "check_availability", date="2026-11-28"))["available"] is False, "a Saturday"


async def test_an_appointment_is_booked_shown_and_cancelled(context: ToolContext) -> None:
    booked = await ask(context, "book_appointment", date="2026-12-02", time="14:30", name="Aline", reason="Taxes")
    assert booked["success"]
    assert (booked["appointment"]["time"], booked["appointment"]["until"]) == ("14:30", "15:00")
    assert "14:30" not in (await ask(context, "check_availability", date="2026-12-02"))["slots"]
    shown = await ask(context, "cancel_appointment")
    assert [each["id"] for each in shown["appointments"]] == [booked["appointment"]["id"]]
    cancelled = await ask(context, "cancel_appointment", appointmentId=booked["appointment"]["id"])
    assert cancelled["success"]
    assert "14:30" in (await ask(context, "check_availability", date="2026-12-02"))["slots"]


def test_what_changes_something_is_done_once_and_what_only_shows_is_shown_anew() -> None:
    toolbox = house_toolbox()
    once = {name for name in toolbox.names if toolbox.has_effect(name)}
    assert {"place_order", "take_message", "redeem_voucher", "book_appointment"} <= once
    assert not once & {"cancel_appointment", "check_availability", "lookup_menu", "get_member_balance"}


async def test_nobody_cancels_what_stands_under_another_number(context: ToolContext) -> None:
    booked = await ask(context, "book_appointment", date="2026-12-02", time="14:30", name="Aline")
    stranger = replace(context, from_number="+250788999999")
    answer = await ask(stranger, "cancel_appointment", appointmentId=booked["appointment"]["id"])
    assert answer["error"] == "failed"
    assert "14:30" not in (await ask(context, "check_availability", date="2026-12-02"))["slots"]


async def test_what_cannot_be_booked_says_why(context: ToolContext) -> None:
    for day, at, error in [
        ("2026-12-01", "11:00", "taken"),
        ("2026-11-28", "10:00", "closed"),
        ("2026-11-20", "10:00", "past"),
        ("2026-12-02", "10:10", "no_such_time"),
        ("2026-12-02", "20:00", "no_such_time"),
    ]:
        answer = await ask(context, "book_appointment", date=day, time=at, name="Aline")
        assert (answer["success"], answer["error"]) == (False, error), (day, at)
        assert answer["message"]


async def test_of_twenty_calls_at_once_one_gets_the_time(tables: Tables) -> None:
    wish = Wish(datetime(2026, 12, 2, 14, 30, tzinfo=KIGALI), "Aline")
    answers = await asyncio.gather(*(tables.diary.book(wish, f"CA{n}", f"key {n}", NOW) for n in range(20)))
    assert answers.count("taken") == 19


async def test_the_same_key_is_the_same_appointment_until_it_is_cancelled(tables: Tables) -> None:
    wish = Wish(datetime(2026, 12, 2, 14, 30, tzinfo=KIGALI), "Aline", CALLER)
    first, *again = await asyncio.gather(*(tables.diary.book(wish, "CA1", "key", NOW) for _ in range(5)))
    assert isinstance(first, Appointment)
    assert again == [first] * 4
    assert await tables.diary.cancel(first.id, CALLER)
    assert await tables.diary.cancel(first.id, CALLER), "and once more does no harm"
    anew = await tables.diary.book(wish, "CA1", "key", NOW)
    assert isinstance(anew, Appointment)
    assert anew.id != first.id


async def test_the_same_key_is_one_order_and_one_message_however_many_ask_at_once(tables: Tables) -> None:
    orders = await asyncio.gather(*(tables.orders.place("rw-cap", 2, "CA1", "key") for _ in range(8)))
    message = Message("Aline", "Call me.", CALLER)
    messages = await asyncio.gather(*(tables.orders.take_message(message, "CA1", "key") for _ in range(8)))
    assert (len(set(orders)), len(set(messages))) == (1, 1)
    assert [line.quantity for line in await tables.orders.of_call("CA1")] == [2]
    with pytest.raises(KeyError):
        await tables.orders.place("nothing", 1, "CA1", None)


async def test_a_night_in_which_the_clock_is_changed_has_only_times_that_exist(tables_over: Over) -> None:
    diary = (await tables_over(Hours(MALTA, frozenset(range(7)), time(0, 30), time(5), slot_min=60))).diary
    spring, autumn = date(2027, 3, 28), date(2027, 10, 31)
    now = datetime(2026, 11, 23, tzinfo=UTC)
    assert [f"{slot:%H:%M}" for slot in await diary.free(spring, now)] == ["00:30", "01:30", "03:30"]
    assert [f"{slot:%H:%M}" for slot in await diary.free(autumn, now)] == ["00:30", "01:30", "02:30", "03:30"]
    booked = await diary.book(Wish(datetime(2027, 3, 28, 1, 30, tzinfo=MALTA), "Claire"), "CA1", None, now)
    assert isinstance(booked, Appointment)
    assert f"{booked.ends_at:%H:%M}" == "03:30", "an hour later by the clock that was put forward"
    assert [f"{slot:%H:%M}" for slot in await diary.free(spring, now)] == ["00:30", "03:30"]


async def test_a_customer_is_known_by_the_number(context: ToolContext) -> None:
    answer = await ask(context, "lookup_customer", phone="+35699000111")
    assert (answer["found"], answer["customer"]["name"]) == (True, "Claire Borg")
    assert [each["date"] for each in answer["appointments"]] == ["2026-12-01"]
    assert await ask(context, "lookup_customer") == {"found": False}


# --- messages ---------------------------------------------------------------------------------------------------


async def test_a_message_is_kept_with_the_number_to_call_back(context: ToolContext, read: Read) -> None:
    answer = await ask(context, "take_message", name="Aline", message="Please call me.", urgent=True)
    assert answer["success"]
    rows = read("select from_name, from_phone, text, urgent, call_sid, for_whom from messages")
    assert rows == [("Aline", CALLER, "Please call me.", True, "CA1", None)]


# --- what people and models write ------------------------------------------------------------------------------


HOSTILE = "a\0b\x1b'; drop table members; -- (,)\"\\ %2B & \u202e"


async def test_no_text_whatever_harms_a_table(context: ToolContext) -> None:
    for tool, arguments in [
        ("lookup_menu", {"query": HOSTILE}),
        ("recommend_pairing", {"itemId": HOSTILE}),
        ("get_menu", {"category": HOSTILE}),
        ("check_id", {"id_number": HOSTILE}),
        ("get_member_balance", {"memberId": HOSTILE}),
        ("redeem_voucher", {"code": HOSTILE}),
        ("lookup_customer", {"phone": HOSTILE[:40]}),
        ("take_message", {"name": HOSTILE, "message": HOSTILE, "phone": HOSTILE[:40], "for_whom": HOSTILE}),
        ("book_appointment", {"date": "2026-12-02", "time": "14:30", "name": HOSTILE, "reason": HOSTILE}),
    ]:
        answer = await ask(context, tool, **arguments)
        assert answer.get("error") in (None, "not_found"), (tool, answer)
    for tool, arguments in [
        ("place_order", {"item": HOSTILE}),
        ("check_tax_rule", {"jurisdiction": HOSTILE[:40], "topic": HOSTILE}),
        ("fetch_financials", {"period": HOSTILE[:20]}),
        ("cancel_appointment", {"appointmentId": HOSTILE}),
    ]:
        answer = await ask(context, tool, **arguments)
        assert answer["error"] == "failed", (tool, answer)
        assert "at the moment" not in answer["message"], "told what is the matter, and no fault of ours"


async def test_a_hundred_kilobytes_are_refused_by_every_text_there_is(context: ToolContext) -> None:
    for each in house_toolbox().tools:
        for name, schema in each.parameters["properties"].items():
            whole = each.name == "get_next_response_from_supervisor"  # nothing of it goes into a table
            if schema.get("type") == "string" and "format" not in schema and not whole:
                answer = await ask(context, each.name, **{name: "x" * 60_000})
                assert answer["error"] == "invalid_arguments", (each.name, name)
                assert f"{name}: String should have at most" in answer["message"]


# --- what clients rely on ---------------------------------------------------------------------------------------


async def test_names_arguments_and_answers_are_those_that_clients_know(context: ToolContext) -> None:
    known = {
        "lookup_menu": ["query"],
        "recommend_pairing": ["itemId"],
        "fetch_financials": ["period"],
        "check_tax_rule": ["jurisdiction", "topic"],
        "check_id": ["id_number"],
        "place_order": ["item", "quantity"],
        "get_member_balance": ["memberId"],
        "redeem_voucher": ["code"],
        "check_availability": ["date"],
    }
    toolbox = house_toolbox()
    shown = {spec["name"]: list(spec["parameters"]["properties"]) for spec in toolbox.specs()}
    assert {name: shown[name] for name in known} == known
    (item,) = (await ask(context, "lookup_menu", query="cappuccino"))["items"]
    assert {"id", "name", "price", "description", "image_url"} <= set(item)
    pairings = (await ask(context, "recommend_pairing", itemId="rw-bro"))["pairings"]
    assert pairings[0]["upsell"] == "A cold Mützig goes well with the brochette."
    financials = await ask(context, "fetch_financials", period="2026-08")
    assert {"revenue", "cogs", "ebitda", "lines"} <= set(financials)
    rule = await ask(context, "check_tax_rule", jurisdiction="UK", topic="vat")
    assert (rule["rate"], rule["authority"]) == (20, "VATA 1994 s.2")
    assert {"rule", "rate", "authority", "notes"} <= set(rule)
    checked = await ask(context, "check_id", id_number="1199080012345012")
    assert {"status": "id_checked", "valid": True}.items() <= checked.items()
    ordered = await ask(context, "place_order", item="rw-cap", quantity=2)
    assert ordered["success"] is True
    balance = await ask(context, "get_member_balance", memberId="member_123")
    assert balance == {"success": True, "memberId": "member_123", "balance": 50000, "currency": "RWF"}
    redeemed = await ask(context, "redeem_voucher", code="SAVE2024")
    assert {"success": True, "code": "SAVE2024"}.items() <= redeemed.items()
    assert redeemed["voucher"] == {"id": "voucher_123", "value": 1000, "type": "discount"}
