"""The stand-in for Storage, held against Supabase's own client, and refusing what it does not know."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from postgrest_double import ANON_KEY, PUBLISHABLE_KEY, SECRET_KEY, SERVICE_ROLE_KEY
from storage3.exceptions import StorageApiError
from storage_double import Chest, StorageDouble
from supabase import AsyncClient, AsyncClientOptions, acreate_client

PATH = "2026-11-21/CA1_019aa0e0-0000-7000-8000-000000000001.wav"


@pytest.fixture
def double() -> StorageDouble:
    return StorageDouble()


async def client(double: StorageDouble, key: str = SECRET_KEY) -> AsyncClient:
    http = httpx.AsyncClient(transport=httpx.ASGITransport(double.asgi), headers={"user-agent": "voice-gateway"})
    options = AsyncClientOptions(httpx_client=http, auto_refresh_token=False, persist_session=False)
    return await acreate_client("http://project.localhost", key, options=options)


@pytest.fixture
async def objects(double: StorageDouble) -> AsyncIterator[Any]:
    made = await client(double)
    yield made.storage.from_("recordings")
    await made.options.httpx_client.aclose()  # type: ignore[union-attr]


async def meant(request: Any) -> tuple[str, str]:
    """What the client understands of a refusal: status and code."""
    with pytest.raises(StorageApiError) as refusal:
        await request
    return str(refusal.value.status), refusal.value.code


async def test_an_object_is_there_as_it_was_sent(objects: Any) -> None:
    answer = await objects.upload(PATH, b"RIFF....", {"content-type": "audio/wav", "metadata": {"sha256": "ab"}})
    assert (answer.path, answer.full_path) == (PATH, f"recordings/{PATH}")
    assert await objects.download(PATH) == b"RIFF...."
    info = await objects.info(PATH)
    assert (info["size"], info["content_type"], info["metadata"]) == (8, "audio/wav", {"sha256": "ab"})
    assert await objects.exists(PATH)
    assert not await objects.exists("2026-11-21/other.wav")


async def test_a_second_one_of_that_name_is_refused_unless_it_shall_take_its_place(objects: Any) -> None:
    await objects.upload(PATH, b"one")
    assert await meant(objects.upload(PATH, b"two")) == ("409", "Duplicate")
    assert await objects.download(PATH) == b"one"
    await objects.update(PATH, b"two")
    await objects.upload(PATH, b"three", {"upsert": "true"})
    assert await objects.download(PATH) == b"three"


async def test_folders_are_listed_a_level_at_a_time_and_in_pages(objects: Any) -> None:
    for day in ("2026-11-20", "2026-11-21"):
        for number in range(3):
            await objects.upload(f"{day}/CA{number}.wav", b"x")
    await objects.upload("loose.wav", b"x")
    assert [(each["name"], each["id"] is None) for each in await objects.list()] == [
        ("2026-11-20", True), ("2026-11-21", True), ("loose.wav", False),
    ]  # fmt: skip
    page = await objects.list("2026-11-21", {"limit": 2, "offset": 1})
    assert [each["name"] for each in page] == ["CA1.wav", "CA2.wav"]
    assert await objects.list("2026-11") == []


async def test_what_is_removed_is_told_and_what_is_not_there_is_not(objects: Any, double: StorageDouble) -> None:
    await objects.upload(PATH, b"x")
    gone = await objects.remove([PATH, "2026-11-21/none.wav"])
    assert [each["name"] for each in gone] == [PATH]
    assert double.names() == []


async def test_refusals_come_with_their_meaning(objects: Any, double: StorageDouble) -> None:
    double.buckets["small"] = Chest(file_size_limit=3)
    storage = (await client(double)).storage
    assert await meant(storage.from_("none").upload(PATH, b"x")) == ("404", "Bucket not found")
    assert await meant(storage.get_bucket("none")) == ("404", "Bucket not found")
    assert await meant(storage.from_("small").upload(PATH, b"four")) == ("413", "Payload too large")
    assert await meant(objects.upload("a b#c.wav", b"x")) == ("400", "InvalidKey")
    double.gateway_limit = 100
    assert await meant(objects.upload(PATH, b"x" * 200)) == ("413", "InternalError")


async def test_only_the_service_has_a_way_in(double: StorageDouble) -> None:
    for key in (SECRET_KEY, SERVICE_ROLE_KEY):
        assert (await (await client(double, key)).storage.get_bucket("recordings")).public is False
    for key in (PUBLISHABLE_KEY, ANON_KEY):
        stranger = (await client(double, key)).storage
        assert await meant(stranger.from_("recordings").upload(PATH, b"x")) == ("403", "Unauthorized")
        assert await meant(stranger.from_("recordings").download(PATH)) == ("404", "not_found")
        assert await stranger.from_("recordings").list() == []
    wrong = (await client(double, "sb_secret_of_another_project")).storage
    assert (await meant(wrong.from_("recordings").upload(PATH, b"x")))[0] == "401"


async def test_what_it_does_not_know_it_refuses(objects: Any, double: StorageDouble) -> None:
    storage = (await client(double)).storage
    for request in (
        objects.move(PATH, "b.wav"),
        objects.create_signed_url(PATH, 60),
        objects.list("", {"search": "CA"}),
        objects.list("", {"sortBy": {"column": "created_at", "order": "asc"}}),
        storage.create_bucket("another"),
    ):
        assert (await meant(request))[0] == "501"
