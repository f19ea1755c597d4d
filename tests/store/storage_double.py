"""A stand-in for Supabase Storage, with the gateway in front of it: buckets and objects in memory.

Its one rule is that of `postgrest_double`: what it does not know it refuses (501). Statuses and bodies are those of the
service's own source (supabase/storage: the error handler, the error codes, the routes of objects): nearly every refusal
is HTTP 400 with the true status in the body, 500 is 500, and what the gateway in front refuses has HTTP's own status
and another body. Known: upload and update as multipart, download, info, list, removal, and reading a bucket.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
from postgrest_double import Caller, RefusalError, identify
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

KEY = re.compile(r"^(\w|/|!|-|\.|\*|'|\(|\)| |&|\$|@|=|;|:|\+|,|\?)*$", re.ASCII)
MOST_AT_ONCE = 1000
COLUMNS = {"name", "updated_at", "created_at", "last_accessed_at"}

Door = Callable[[Request, Caller], Awaitable[Response]]


class StorageRefusalError(Exception):
    """status: what is meant; HTTP says 400, or 500 where that is meant."""

    def __init__(self, status: int, code: str, message: str, error: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.error = status, code, error or code

    def response(self) -> Response:
        body = {"statusCode": str(self.status), "code": self.code, "error": self.error, "message": str(self)}
        return said(body, 500 if self.status == 500 else 400)


@dataclass
class Thing:
    """An object."""

    data: bytes
    media_type: str
    metadata: Any
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat())


@dataclass
class Chest:
    """A bucket."""

    public: bool = False
    file_size_limit: int | None = None
    things: dict[str, Thing] = field(default_factory=dict)


class StorageDouble:
    """gateway_limit: bytes of a request. faults: what the next uploads are answered instead, one each, in order.

    of_bucket: what is answered instead of what a bucket is. of_removals: to the next removals, one each.
    """

    def __init__(self) -> None:
        self.buckets: dict[str, Chest] = {"recordings": Chest()}
        self.gateway_limit = 200_000_000
        self.faults: list[Response | Callable[[Request], Awaitable[Response | None]]] = []
        self.of_bucket: Response | None = None
        self.of_removals: list[Response] = []
        self.uploads: list[str] = []
        routes: list[tuple[str, str, Door]] = [
            ("GET", "/bucket/{bucket}", self._bucket),
            ("POST", "/object/list/{bucket}", self._list),
            ("GET", "/object/info/{bucket}/{path:path}", self._info),
            ("DELETE", "/object/{bucket}", self._remove),
            ("POST", "/object/{bucket}/{path:path}", self._upload),
            ("PUT", "/object/{bucket}/{path:path}", self._upload),
            ("GET", "/object/{bucket}/{path:path}", self._download),
        ]
        self.asgi = Starlette(
            routes=[
                *(Route(f"/storage/v1{path}", guarded(door), methods=[method]) for method, path, door in routes),
                Route("/storage/v1/{rest:path}", unknown, methods=["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"]),
            ]
        )

    def names(self, bucket: str = "recordings") -> list[str]:
        return sorted(self.buckets[bucket].things)

    def _chest(self, request: Request) -> Chest:
        try:
            return self.buckets[request.path_params["bucket"]]
        except KeyError:
            raise StorageRefusalError(404, "NoSuchBucket", "Bucket not found", "Bucket not found") from None

    async def _bucket(self, request: Request, caller: Caller) -> Response:
        if self.of_bucket is not None:
            return self.of_bucket
        name, chest = request.path_params["bucket"], self._chest(request)
        if caller.role != "service_role":
            raise StorageRefusalError(404, "NoSuchBucket", "Bucket not found", "Bucket not found")
        at = datetime.now(UTC).isoformat()
        return said(
            {
                "id": name, "name": name, "owner": "", "public": chest.public, "type": "STANDARD",
                "file_size_limit": chest.file_size_limit, "allowed_mime_types": None, "created_at": at,
                "updated_at": at,
            }
        )  # fmt: skip

    async def _upload(self, request: Request, caller: Caller) -> Response:
        bucket, path = request.path_params["bucket"], request.path_params["path"]
        self.uploads.append(path)
        if self.faults:
            fault = self.faults.pop(0)
            answer = fault if isinstance(fault, Response) else await fault(request)
            if answer is not None:
                return answer
        if int(request.headers.get("content-length", self.gateway_limit + 1)) > self.gateway_limit:
            return said({"message": "Request size limit exceeded"}, 413)
        if set(request.query_params) or not request.headers["content-type"].startswith("multipart/form-data"):
            return refused("an upload that is not multipart, or with a query")
        thing = await sent(request)
        if isinstance(thing, Response):
            return thing
        chest = self._chest(request)
        if not path or not KEY.fullmatch(path):
            raise StorageRefusalError(400, "InvalidKey", f"Invalid key: {path}")
        if caller.role != "service_role":
            message = "new row violates row-level security policy"
            raise StorageRefusalError(403, "AccessDenied", message, "Unauthorized")
        upsert = request.method == "PUT" or request.headers.get("x-upsert") == "true"
        if path in chest.things and not upsert:
            raise StorageRefusalError(409, "KeyAlreadyExists", "The resource already exists", "Duplicate")
        if chest.file_size_limit is not None and len(thing.data) > chest.file_size_limit:
            message = "The object exceeded the maximum allowed size"
            raise StorageRefusalError(413, "EntityTooLarge", message, "Payload too large")
        chest.things[path] = thing
        return said({"Id": thing.id, "Key": f"{bucket}/{path}"})

    def _thing(self, request: Request, caller: Caller) -> Thing:
        things = self._chest(request).things
        if request.path_params["path"] not in things or caller.role != "service_role":
            raise StorageRefusalError(404, "NoSuchKey", "Object not found", "not_found")
        return things[request.path_params["path"]]

    async def _download(self, request: Request, caller: Caller) -> Response:
        thing = self._thing(request, caller)
        return Response(thing.data, media_type=thing.media_type)

    async def _info(self, request: Request, caller: Caller) -> Response:
        thing = self._thing(request, caller)
        return said(
            {
                "id": thing.id, "name": request.path_params["path"], "version": "1",
                "bucket_id": request.path_params["bucket"], "size": len(thing.data), "content_type": thing.media_type,
                "cache_control": "max-age=3600", "etag": '"e"', "metadata": thing.metadata,
                "last_modified": thing.created_at, "created_at": thing.created_at,
            }
        )  # fmt: skip

    async def _remove(self, request: Request, caller: Caller) -> Response:
        if self.of_removals:
            return self.of_removals.pop(0)
        asked = orjson.loads(await request.body())
        names = asked.get("prefixes")
        if set(asked) != {"prefixes"} or not names or len(names) > MOST_AT_ONCE:
            raise StorageRefusalError(400, "InvalidRequest", "body/prefixes must NOT have so many items")
        things = self._chest(request).things if caller.role == "service_role" else {}
        gone = [listed(name, thing) for name in names if (thing := things.pop(name, None))]
        return said([each | {"bucket_id": request.path_params["bucket"]} for each in gone])

    async def _list(self, request: Request, caller: Caller) -> Response:
        asked = {"limit": 100, "offset": 0, "search": "", "sortBy": {}} | orjson.loads(await request.body())
        if set(asked) != {"limit", "offset", "search", "sortBy", "prefix"} or asked["search"]:
            return refused(f"a list by {sorted(asked)}")
        by = {"column": "name", "order": "asc"} | asked["sortBy"]
        if by != {"column": "name", "order": "asc"}:
            return refused(f"the order {by}")
        chest = self.buckets.get(request.path_params["bucket"], Chest())  # what is asked is a table, not the bucket
        things = chest.things if caller.role == "service_role" else {}
        folder = f"{asked['prefix'].rstrip('/')}/" if asked["prefix"] else ""
        below = {name.removeprefix(folder): thing for name, thing in things.items() if name.startswith(folder)}
        folders = {name.partition("/")[0] for name in below if "/" in name}
        found = [
            dict.fromkeys(("id", "updated_at", "created_at", "last_accessed_at", "metadata")) | {"name": name}
            for name in folders
        ] + [listed(name, thing) for name, thing in below.items() if "/" not in name]
        found.sort(key=lambda each: each["name"])
        return said(found[asked["offset"] : asked["offset"] + asked["limit"]])


async def sent(request: Request) -> Thing | Response:
    """What an upload brings."""
    try:
        await request.body()  # all of it first: a form that is cut off would leave its files open
    except ClientDisconnect:
        return Response(status_code=400)
    async with request.form() as form:
        file, told = form.get("file"), form.get("metadata")
        if set(form) - {"cacheControl", "metadata", "file"} or not isinstance(file, UploadFile):
            return refused(f"the fields {sorted(form)}")
        return Thing(await file.read(), file.content_type or "", orjson.loads(str(told)) if told else None)


def listed(name: str, thing: Thing) -> dict[str, Any]:
    return {
        "name": name, "id": thing.id, "updated_at": thing.created_at, "created_at": thing.created_at,
        "last_accessed_at": thing.created_at, "metadata": {"size": len(thing.data), "mimetype": thing.media_type},
    }  # fmt: skip


def guarded(door: Door) -> Callable[[Request], Awaitable[Response]]:
    """Who asks is looked at first, by the gateway; then Storage's own refusals are put into words."""

    async def answer(request: Request) -> Response:
        try:
            return await door(request, identify(request.headers))
        except RefusalError as refusal:
            return said({"message": str(refusal)}, refusal.status)
        except StorageRefusalError as refusal:
            return refusal.response()

    return answer


async def unknown(request: Request) -> Response:
    return refused(f"{request.method} {request.url.path}")


def refused(what: str) -> Response:
    return said({"statusCode": "501", "error": "unknown", "message": f"the stand-in does not know {what}"}, 501)


def said(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
