"""Erasing a person from a Supabase project, by the functions of `migrations/`."""

from __future__ import annotations

from typing import Any

from voice_gateway.store.erasure import Calls
from voice_gateway.store.person import Person
from voice_gateway.store.project import Project
from voice_gateway.store.remote import Misconfigured

PATIENCE_S = 310.0
"""Whole tables are read through: the functions may take five minutes."""


MOST_NAMED = 100
"""Calls named in the address of a request."""


class RemoteErasure:
    """Every method raises `remote.RemoteError` when the project cannot be had."""

    def __init__(self, url: str, key: str, *, timeout_s: float = PATIENCE_S) -> None:
        self._project = Project(url, key, timeout_s=timeout_s)

    async def close(self) -> None:
        await self._project.close()

    async def calls(self, person: Person) -> Calls:
        """The person's calls."""
        asked = {"sids": sorted(person.call_sids), "forms": list(person.forms)}
        answer = await self._project.call("find_person_calls", asked)
        try:
            return Calls(frozenset(map(str, answer["call_sids"])), lines=int(answer["lines"]))
        except (KeyError, TypeError, ValueError):
            raise _foreign("find_person_calls") from None

    async def found(self, person: Person) -> dict[str, int]:
        """In each table, how many rows have anything of the person."""
        return await self._counts("find_person", person)

    async def buckets(self, person: Person) -> set[str]:
        """The buckets in which the rows of the person's calls say that recordings lie."""
        client, sids, found = await self._project.client(), sorted(person.call_sids), set[str]()
        for start in range(0, len(sids), MOST_NAMED):
            named = sids[start : start + MOST_NAMED]
            query = client.table("call_recordings").select("bucket").in_("call_sid", named).execute()
            found |= {row["bucket"] for row in await self._project.asked(query) if row["bucket"]}
        return found

    async def erase(self, person: Person) -> dict[str, int]:
        """Remove and replace. Returns how many rows of each table were concerned."""
        return await self._counts("erase_person", person)

    async def _counts(self, function: str, person: Person) -> dict[str, int]:
        asked: dict[str, Any] = {
            "sids": sorted(person.call_sids),
            "forms": list(person.forms),
            "pattern": person.pattern or None,
        }
        answer = await self._project.call(function, asked)
        try:
            return {str(table): int(count) for table, count in answer.items()}
        except (AttributeError, TypeError, ValueError):
            raise _foreign(function) from None


def _foreign(function: str) -> Misconfigured:
    return Misconfigured(f"the project's {function} is not ours: apply the migrations of this version")
