"""A stand-in for Supabase's Data API: PostgREST's rules over a real PostgreSQL, with its real roles and our migrations.

It plays the gateway in front as well (keys, roles). Its one rule: what it does not know it refuses (501, PGRST127), so
that no test passes on a kindness of the stand-in. Statuses and codes are those of PostgREST's documentation (Errors)
and of its own tests. Known: `rpc` by POST; GET and HEAD with plain columns, filters, order, limit, offset and
an exact count; POST as insert and upsert.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import jwt
import orjson
import psycopg
from psycopg import sql
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

SECRET_KEY = "sb_secret_0123456789abcdef"
PUBLISHABLE_KEY = "sb_publishable_0123456789abcdef"
JWT_SECRET = "a secret of the project, long enough for HS256"
SERVICE_ROLE_KEY = jwt.encode({"role": "service_role", "iss": "supabase"}, JWT_SECRET, "HS256")
ANON_KEY = jwt.encode({"role": "anon", "iss": "supabase"}, JWT_SECRET, "HS256")

OPERATORS = {"eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "like": "like", "ilike": "ilike"}
STATUS_BY_STATE = (
    (("23505", "23503"), 409), (("42P01", "42883"), 404), (("08", "53"), 503), (("40", "55", "57", "XX"), 500),
)  # fmt: skip


class RefusalError(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class Caller:
    role: str
    claims: Mapping[str, Any]


class PostgrestDouble:
    """address: of the database, as a role that may become any other."""

    def __init__(self, address: str, *, connections: int = 3) -> None:
        self._address = address
        self._count = connections
        self._free: asyncio.Queue[psycopg.AsyncConnection[Any]] = asyncio.Queue()
        self.asgi = Starlette(
            routes=[
                Route("/rest/v1/rpc/{name}", self._answer, methods=["GET", "POST"]),
                Route("/rest/v1/{table}", self._answer, methods=["GET", "HEAD", "POST", "PATCH", "DELETE", "PUT"]),
            ],
            lifespan=self._live,
        )

    @asynccontextmanager
    async def _live(self, _app: Starlette) -> AsyncIterator[None]:
        all_of_them = [await psycopg.AsyncConnection.connect(self._address) for _ in range(self._count)]
        for each in all_of_them:
            self._free.put_nowait(each)
        yield
        for each in all_of_them:
            await each.close()

    # --- a request ----------------------------------------------------------------------------------------------

    async def _answer(self, request: Request) -> Response:
        try:
            caller = identify(request.headers)
            check_headers(request.headers)
            body = await request.body()
            connection = await self._free.get()
            try:
                async with connection.transaction():
                    await self._become(connection, caller, read_only=request.method in {"GET", "HEAD"})
                    return await self._perform(connection, request, body)
            finally:
                self._free.put_nowait(connection)
        except RefusalError as refusal:
            return error(refusal.status, refusal.code, str(refusal))
        except psycopg.Error as fault:
            return self._database_error(fault, caller)

    async def _become(self, connection: psycopg.AsyncConnection[Any], caller: Caller, *, read_only: bool) -> None:
        if read_only:
            await connection.execute("set transaction read only")
        await connection.execute(
            "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)",
            [caller.role, orjson.dumps(dict(caller.claims)).decode()],
        )

    async def _perform(self, connection: psycopg.AsyncConnection[Any], request: Request, body: bytes) -> Response:
        if "name" in request.path_params:
            if request.method != "POST":
                raise unknown("rpc by GET")
            return await call(connection, request.path_params["name"], body)
        table = await Table.find(connection, request.path_params["table"])
        if request.method in {"GET", "HEAD"}:
            return await read(connection, table, request)
        if request.method == "POST":
            return await insert(connection, table, request, body)
        raise unknown(f"the method {request.method}")

    @staticmethod
    def _database_error(fault: psycopg.Error, caller: Caller) -> Response:
        state = fault.sqlstate or "XX000"
        status = 400
        for beginnings, found in STATUS_BY_STATE:
            if state.startswith(beginnings):
                status = found
        if state == "42501":
            status = 401 if caller.role == "anon" else 403
        return error(status, state, fault.diag.message_primary or str(fault), fault.diag.message_detail)


def identify(headers: Mapping[str, str]) -> Caller:
    """Who asks, by the rules of the gateway in front."""
    key = headers.get("apikey", "")
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    if not key:
        raise RefusalError(401, "", "No API key found in request")
    if key == SECRET_KEY:
        if headers.get("user-agent", "").startswith("Mozilla"):
            raise RefusalError(401, "", "Secret API keys are not for browsers")
        return Caller("service_role", {"role": "service_role"})
    if key == PUBLISHABLE_KEY:
        return Caller("anon", {"role": "anon"})
    if key not in (SERVICE_ROLE_KEY, ANON_KEY):
        raise RefusalError(401, "", "Invalid API key")
    try:
        claims = jwt.decode(bearer, JWT_SECRET, ["HS256"])
    except jwt.InvalidTokenError as fault:
        raise RefusalError(401, "PGRST301", str(fault)) from None
    return Caller(claims["role"], claims)


def check_headers(headers: Mapping[str, str]) -> None:
    for header in ("accept-profile", "content-profile"):
        if headers.get(header, "public") != "public":
            raise RefusalError(406, "PGRST106", "The schema must be one of the following: public")
    if "range" in headers:
        raise unknown("the header Range")


def unknown(what: str) -> RefusalError:
    return RefusalError(501, "PGRST127", f"the stand-in does not know {what}")


def error(status: int, code: str, message: str, details: str | None = None) -> Response:
    headers = {"www-authenticate": "Bearer"} if status == 401 else {}
    return reply({"code": code, "message": message, "details": details, "hint": None}, status, headers)


def reply(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, dict(headers or {}), "application/json; charset=utf-8")


# --- functions --------------------------------------------------------------------------------------------------

FUNCTION = """
select coalesce(p.proargnames, '{}'), array(select format_type(t, null) from unnest(p.proargtypes) t), p.proretset,
    p.pronargdefaults, p.prorettype = 'void'::regtype
  from pg_proc p where p.proname = %s and p.pronamespace = 'public'::regnamespace
"""


async def call(connection: psycopg.AsyncConnection[Any], name: str, body: bytes) -> Response:
    given = parsed(body)
    if not isinstance(given, dict):
        raise RefusalError(400, "PGRST102", "Cannot parse the request body: an object of arguments is expected")
    arguments, returns_set, returns_nothing = fitting(await rows(connection, FUNCTION, [name]), set(given), name)
    columns = sql.SQL(", ").join(sql.SQL("{} {}").format(sql.Identifier(n), sql.SQL(arguments[n])) for n in given)
    values = sql.SQL(", ").join(sql.SQL("{0} := (select {0} from given)").format(sql.Identifier(n)) for n in given)
    source = sql.SQL("json_to_record(%s::json) as _({})").format(columns) if given else sql.SQL("(select %s) as _")
    statement = sql.SQL("with given as (select * from {}) select to_json(f) from public.{}({}) f").format(
        source, sql.Identifier(name), values
    )
    found = [row[0] for row in await rows(connection, statement, [body.decode()])]
    if returns_nothing:
        return Response(status_code=204)
    return reply(found if returns_set else found[0])


def fitting(functions: Sequence[Any], given: set[str], name: str) -> tuple[dict[str, str], bool, bool]:
    """The function that these arguments are for: its arguments' types, whether it returns a set, or nothing."""
    for names, types, returns_set, defaults, returns_nothing in functions:
        arguments = dict(zip(names, types, strict=False))
        needed = list(arguments)[: len(arguments) - defaults]
        if set(needed) <= given <= set(arguments):
            return arguments, returns_set, returns_nothing
    raise RefusalError(404, "PGRST202", f"Could not find the function public.{name} in the schema cache")


# --- tables -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    name: str
    columns: Mapping[str, str]

    @classmethod
    async def find(cls, connection: psycopg.AsyncConnection[Any], name: str) -> Table:
        found = await rows(
            connection,
            "select a.attname, format_type(a.atttypid, a.atttypmod) from pg_attribute a join pg_class c "
            "on c.oid = a.attrelid where c.relname = %s and c.relnamespace = 'public'::regnamespace "
            "and a.attnum > 0 and not a.attisdropped order by a.attnum",
            [name],
        )
        if not found:
            raise RefusalError(404, "PGRST205", f"Could not find the table 'public.{name}' in the schema cache")
        return cls(name, dict(found))

    def column(self, name: str) -> sql.Identifier:
        if not re.fullmatch(r"\w+", name):
            raise unknown(f"the column expression {name}")
        if name not in self.columns:
            raise RefusalError(400, "42703", f"column {self.name}.{name} does not exist")
        return sql.Identifier(name)


async def read(connection: psycopg.AsyncConnection[Any], table: Table, request: Request) -> Response:
    preferences = preferred(request)
    if set(preferences) - {"count"} or preferences.get("count", "exact") != "exact":
        raise unknown(f"the preference {request.headers['prefer']}")
    query = {"select": "*", "order": "", "limit": "", "offset": "0"}
    filters: list[sql.Composable] = []
    values: list[Any] = []
    for name, value in request.query_params.multi_items():
        if name in query:
            query[name] = value
        else:
            filters.append(condition(table, name, value, values))
    chosen = query["select"].split(",")
    columns = sql.SQL("*") if chosen == ["*"] else sql.SQL(", ").join(table.column(each.strip('"')) for each in chosen)
    where = sql.SQL(" where ") + sql.SQL(" and ").join(filters) if filters else sql.SQL("")
    order = (
        sql.SQL(" order by ") + sql.SQL(", ").join(ordering(table, query["order"])) if query["order"] else sql.SQL("")
    )
    limit = sql.SQL(" limit {} offset {}").format(
        sql.Literal(int(query["limit"])) if query["limit"] else sql.SQL("all"), sql.Literal(int(query["offset"]))
    )
    source = sql.SQL("public.{}").format(sql.Identifier(table.name)) + where
    statement = sql.SQL("select to_json(t) from (select {} from {}{}{}) t").format(columns, source, order, limit)
    found = [row[0] for row in await rows(connection, statement, values)]
    total = None
    if "count" in preferences:
        total = (await rows(connection, sql.SQL("select count(*) from {}").format(source), values))[0][0]
    return listing(request, found, int(query["offset"]), total)


def listing(request: Request, found: list[Any], offset: int, total: int | None) -> Response:
    if total is not None and offset > total:
        raise RefusalError(416, "PGRST103", "Requested range not satisfiable")
    if "vnd.pgrst.object" in request.headers.get("accept", ""):
        if len(found) != 1:
            raise RefusalError(406, "PGRST116", "Cannot coerce the result to a single JSON object")
        return reply(found[0])
    span = f"{offset}-{offset + len(found) - 1}" if found else "*"
    partial = total is not None and 0 < len(found) < total
    answer = reply(found, 206 if partial else 200, {"content-range": f"{span}/{'*' if total is None else total}"})
    if request.method == "HEAD":
        answer.body = b""
    return answer


def condition(table: Table, name: str, value: str, values: list[Any]) -> sql.Composable:
    column = table.column(name)
    operator, _, operand = value.partition(".")
    kind = sql.SQL(table.columns[name])
    if operator in OPERATORS:
        text = operator in ("like", "ilike")
        values.append(operand.replace("*", "%") if text else operand)
        cast = sql.SQL("text") if text else kind
        return sql.SQL("{} {} %s::{}").format(column, sql.SQL(OPERATORS[operator]), cast)
    if operator == "is" and operand in ("null", "true", "false"):
        return sql.SQL("{} is {}").format(column, sql.SQL(operand))
    if operator == "in" and re.fullmatch(r"\([^()\"\\]*\)", operand):
        values.append(operand[1:-1].split(","))
        return sql.SQL("{} = any(%s::{}[])").format(column, kind)
    raise unknown(f"the filter {name}={value}")


def ordering(table: Table, order: str) -> list[sql.Composable]:
    parts = []
    for each in order.split(","):
        name, _, way = each.partition(".")
        if way not in ("", "asc", "desc"):
            raise unknown(f"the order {each}")
        parts.append(table.column(name) + sql.SQL(f" {way or 'asc'}"))
    return parts


async def insert(connection: psycopg.AsyncConnection[Any], table: Table, request: Request, body: bytes) -> Response:
    preferences = preferred(request)
    if set(preferences) - {"return", "resolution"}:
        raise unknown(f"the preference {request.headers['prefer']}")
    if set(request.query_params) - {"columns", "on_conflict"}:
        raise unknown(f"the query {request.url.query}")
    given = parsed(body)
    items = given if isinstance(given, list) else [given]
    if any(not isinstance(each, dict) for each in items):
        raise RefusalError(400, "PGRST102", "Cannot parse the request body: objects are expected")
    names = [each.strip('"') for each in request.query_params.get("columns", "").split(",") if each]
    if not names:
        names = list(items[0]) if items else []
        if any(set(each) != set(names) for each in items):
            raise RefusalError(400, "PGRST102", "All object keys must match")
    columns = sql.SQL(", ").join(table.column(name) for name in names)
    if not items:
        return reply([], 201)
    name = sql.SQL("public.{}").format(sql.Identifier(table.name))
    statement = sql.SQL(
        "with done as (insert into {0} as t ({1}) select {1} from json_populate_recordset(null::{0}, %s::json){2} "
        "returning t.*, (t.xmax = 0) as is_new) select is_new, to_jsonb(done) - 'is_new' from done"
    ).format(name, columns, on_conflict(table, names, preferences.get("resolution"), request))
    done = await rows(connection, statement, [orjson.dumps(items).decode()])
    merged = preferences.get("resolution") == "merge-duplicates" and not any(is_new for is_new, _ in done)
    status = 200 if merged else 201
    if preferences.get("return") == "representation":
        return reply([row for _, row in done], status)
    return Response(status_code=status)


def on_conflict(table: Table, names: Sequence[str], resolution: str | None, request: Request) -> sql.Composable:
    if resolution is None:
        return sql.SQL("")
    target = request.query_params.get("on_conflict", "id").split(",")
    keys = sql.SQL(", ").join(table.column(each) for each in target)
    if resolution == "ignore-duplicates":
        return sql.SQL(" on conflict ({}) do nothing").format(keys)
    if resolution != "merge-duplicates":
        raise unknown(f"the resolution {resolution}")
    changes = sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(table.column(each)) for each in names)
    return sql.SQL(" on conflict ({}) do update set {}").format(keys, changes)


def preferred(request: Request) -> dict[str, str]:
    words = [word.strip() for word in request.headers.get("prefer", "").split(",") if word.strip()]
    return dict(word.split("=", 1) if "=" in word else (word, "") for word in words)


def parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise RefusalError(400, "PGRST102", "Empty or invalid json") from None


async def rows(connection: psycopg.AsyncConnection[Any], statement: Any, values: Sequence[Any]) -> list[Any]:
    return await (await connection.execute(statement, values)).fetchall()
