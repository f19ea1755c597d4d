-- The rest of a call's record: turns as heard, usage, consents, recordings; how the record comes in, and how it ends.

-- A turn, folded from the one event that told it: the two share id, leg and seq. text is what was heard; generated is
-- all that the model had written, where that is more. Times are milliseconds of the call's audio.
create table if not exists call_turns (
  id uuid primary key,
  call_sid text not null,
  leg smallint not null default 1,
  seq bigint not null,
  item_id text,
  speaker text not null check (speaker in ('user', 'assistant')),
  persona text,
  text text not null default '',
  generated text,
  start_ms bigint,
  end_ms bigint,
  heard_ms bigint,
  total_ms bigint,
  interrupted boolean not null default false,
  latency_ms integer,
  created_at timestamptz not null default now(),
  unique (call_sid, leg, seq)
);
create index if not exists idx_call_turns_item on call_turns(call_sid, item_id);

-- What one response used, by modality; cached tokens are a part of the input's. Its id is its event's.
create table if not exists call_usage (
  id uuid primary key,
  call_sid text not null,
  response_id text not null,
  model text,
  input_text_tokens integer not null default 0,
  input_audio_tokens integer not null default 0,
  cached_text_tokens integer not null default 0,
  cached_audio_tokens integer not null default 0,
  output_text_tokens integer not null default 0,
  output_audio_tokens integer not null default 0,
  cost_usd numeric(12, 6) not null default 0,
  price_book text,
  created_at timestamptz not null default now(),
  unique (call_sid, response_id)
);

-- A decision of the caller, with the words it was asked in. The newest of a kind is what counts.
create table if not exists call_consents (
  id uuid primary key,
  call_sid text not null,
  kind text not null check (kind in ('recording', 'ai_disclosure', 'data_processing', 'marketing')),
  decision text not null check (decision in ('granted', 'denied', 'withdrawn')),
  method text not null,
  wording text,
  language text,
  evidence jsonb not null default '{}'::jsonb,
  decided_at timestamptz not null default now()
);
create index if not exists idx_call_consents_call on call_consents(call_sid, kind, decided_at desc);

-- consent: what the recording rests on: notice, keypress, or none where nobody needs to be asked; the decision itself is
-- a row of call_consents. path: where the file is, below the gateway's folder of recordings or in the storage.
create table if not exists call_recordings (
  id uuid primary key,
  call_sid text not null,
  consent text,
  path text,
  media_type text not null default 'audio/wav',
  channels smallint not null default 2,
  duration_ms bigint check (duration_ms >= 0),
  bytes bigint check (bytes >= 0),
  sha256 text,
  status text not null default 'recording' check (status in ('recording', 'stored', 'failed', 'deleted')),
  delete_after timestamptz,
  created_at timestamptz not null default now()
);
create index if not exists idx_call_recordings_call on call_recordings(call_sid);
create index if not exists idx_call_recordings_due on call_recordings(delete_after) where status = 'stored';

-- Folds what is told of a recording into its row: what is known stays, and a recording that is over does not begin again.
create or replace function upsert_recording(patch jsonb) returns void
language plpgsql set search_path = public, pg_temp as $$
begin
  insert into call_recordings as r (id, call_sid, consent, path, duration_ms, bytes, sha256, status, delete_after, created_at)
  select p.id, p.call_sid, p.consent, p.path, p.duration_ms, p.bytes, p.sha256, coalesce(p.status, 'recording'),
      p.delete_after, coalesce(p.created_at, now())
    from jsonb_populate_record(null::call_recordings, patch) p
  on conflict (id) do update set
      consent = coalesce(r.consent, excluded.consent),
      path = coalesce(r.path, excluded.path),
      duration_ms = coalesce(excluded.duration_ms, r.duration_ms),
      bytes = coalesce(excluded.bytes, r.bytes),
      sha256 = coalesce(excluded.sha256, r.sha256),
      status = case when excluded.status = 'recording' or r.status = 'deleted' then r.status else excluded.status end,
      delete_after = coalesce(excluded.delete_after, r.delete_after),
      created_at = least(r.created_at, excluded.created_at);
end $$;

-- Rows as JSON arrays into their tables; returns how many events were new. What is known already is no error.
create or replace function store_call_rows(
  events jsonb, calls jsonb, turns jsonb, usages jsonb, consents jsonb, recordings jsonb) returns integer
language plpgsql set search_path = public, pg_temp as $$
declare
  n_new integer;
  one jsonb;
begin
  insert into call_events(id, call_sid, event_type, payload, created_at, occurred_at, leg, seq, instance_id, schema_version)
  select id, call_sid, event_type, coalesce(payload, '{}'), coalesce(created_at, now()), occurred_at,
      coalesce(leg, 1::smallint), seq, instance_id, coalesce(schema_version, 1::smallint)
    from jsonb_to_recordset(events) as r(id uuid, call_sid text, event_type text, payload jsonb, created_at timestamptz,
      occurred_at timestamptz, leg smallint, seq bigint, instance_id text, schema_version smallint)
  on conflict (id) do nothing;
  get diagnostics n_new = row_count;
  for one in select value from jsonb_array_elements(calls) loop
    perform upsert_call(one);
  end loop;
  insert into call_turns(id, call_sid, leg, seq, item_id, speaker, persona, text, generated, start_ms, end_ms, heard_ms,
      total_ms, interrupted, latency_ms, created_at)
  select id, call_sid, coalesce(leg, 1::smallint), seq, item_id, speaker, persona, coalesce(text, ''), generated, start_ms,
      end_ms, heard_ms, total_ms, coalesce(interrupted, false), latency_ms, coalesce(created_at, now())
    from jsonb_populate_recordset(null::call_turns, turns)
  on conflict (id) do nothing;
  insert into call_usage(id, call_sid, response_id, model, input_text_tokens, input_audio_tokens, cached_text_tokens,
      cached_audio_tokens, output_text_tokens, output_audio_tokens, cost_usd, price_book, created_at)
  select id, call_sid, response_id, model, coalesce(input_text_tokens, 0), coalesce(input_audio_tokens, 0),
      coalesce(cached_text_tokens, 0), coalesce(cached_audio_tokens, 0), coalesce(output_text_tokens, 0),
      coalesce(output_audio_tokens, 0), coalesce(cost_usd, 0), price_book, coalesce(created_at, now())
    from jsonb_populate_recordset(null::call_usage, usages)
  on conflict do nothing;
  insert into call_consents(id, call_sid, kind, decision, method, wording, language, evidence, decided_at)
  select id, call_sid, kind, decision, method, wording, language, coalesce(evidence, '{}'), coalesce(decided_at, now())
    from jsonb_populate_recordset(null::call_consents, consents)
  on conflict (id) do nothing;
  for one in select value from jsonb_array_elements(recordings) loop
    perform upsert_recording(one);
  end loop;
  return n_new;
end $$;

-- Takes a JSON array of events, each with what it changes: beside its own columns it may hold a patch of its call
-- (`call`), a turn (`turn`), a response's usage (`usage`), a decision (`consent`) and what becomes of a recording
-- (`recording`). The array may also come as JSON in a string, which spares the sender from reading what it sends.
--
-- The fast path stores all of them at once. If anything in them is bad they are taken part by part, and the answer names
-- what was refused, and why, by the element's index: one bad row costs no other. Sending again changes nothing.
create or replace function ingest_call_events(events jsonb) returns jsonb
language plpgsql set search_path = public, pg_temp as $$
declare
  parts constant text[] := array['call', 'turn', 'usage', 'consent', 'recording'];
  n_all integer;
  n_new integer := 0;
  n_events integer;
  refused jsonb := '[]';
  one jsonb;
  place bigint;
  part text;
begin
  if jsonb_typeof(events) = 'string' then
    events := (events #>> '{}')::jsonb;
  end if;
  n_all := jsonb_array_length(events);
  if n_all > 2000 then
    raise exception 'at most 2000 events at a time, these are %', n_all using errcode = '54000';
  end if;
  select count(*) into n_events from jsonb_array_elements(events) where value ? 'id' or not value ?| parts;
  begin
    n_new := store_call_rows(
      (select coalesce(jsonb_agg(value), '[]') from jsonb_array_elements(events) where value ? 'id' or not value ?| parts),
      jsonb_path_query_array(events, '$[*].call'), jsonb_path_query_array(events, '$[*].turn'),
      jsonb_path_query_array(events, '$[*].usage'), jsonb_path_query_array(events, '$[*].consent'),
      jsonb_path_query_array(events, '$[*].recording'));
  exception when data_exception or integrity_constraint_violation or program_limit_exceeded or raise_exception then
    for one, place in select value, ordinality - 1 from jsonb_array_elements(events) with ordinality loop
      foreach part in array array['event'] || parts loop
        continue when part <> 'event' and not one ? part or part = 'event' and one ?| parts and not one ? 'id';
        begin
          n_new := n_new + store_call_rows(
            case when part = 'event' then jsonb_build_array(one) else '[]' end,
            case when part = 'call' then jsonb_build_array(one->'call') else '[]' end,
            case when part = 'turn' then jsonb_build_array(one->'turn') else '[]' end,
            case when part = 'usage' then jsonb_build_array(one->'usage') else '[]' end,
            case when part = 'consent' then jsonb_build_array(one->'consent') else '[]' end,
            case when part = 'recording' then jsonb_build_array(one->'recording') else '[]' end);
        exception when data_exception or integrity_constraint_violation or program_limit_exceeded or raise_exception then
          refused := refused || jsonb_build_object(
            'index', place, 'id', one->'id', 'part', part, 'code', sqlstate, 'message', sqlerrm);
        end;
      end loop;
    end loop;
  end;
  return jsonb_build_object('received', n_all, 'stored', n_new, 'known', n_events - n_new
    - (select count(*) from jsonb_array_elements(refused) where value->>'part' = 'event'), 'refused', refused);
end $$;

-- Retention in small bites: takes ended calls that began before a day, the oldest first, with all that belongs to them.
-- Returns how many calls were taken, 0 when nothing is left to do: call it until then. A call whose recording is stored
-- stays until the recording is gone or its time is over. purge_after, where a call has one, stands in for its beginning.
create or replace function purge_calls(before timestamptz, batch integer default 500) returns integer
language plpgsql set search_path = public, pg_temp as $$
declare sids text[];
begin
  select array_agg(call_sid) into sids from (
    select call_sid from calls c
      where ended_at is not null and coalesce(purge_after, created_at) < before
        and not exists (select 1 from call_recordings r where r.call_sid = c.call_sid and r.status = 'stored'
          and (r.delete_after is null or r.delete_after > now()))
      order by created_at limit batch for update skip locked) due;
  if sids is null then
    return 0;
  end if;
  delete from call_events where call_sid = any(sids);
  delete from call_turns where call_sid = any(sids);
  delete from call_usage where call_sid = any(sids);
  delete from call_recordings where call_sid = any(sids);
  delete from call_consents where call_sid = any(sids);
  delete from calls where call_sid = any(sids);
  return cardinality(sids);
end $$;

-- Nothing for anon; staff read, through a claim that only the server can set; the gateway itself is service_role.
do $$
declare t text;
begin
  foreach t in array array['call_turns', 'call_usage', 'call_consents', 'call_recordings'] loop
    execute format('alter table %I enable row level security', t);
    execute format('revoke all on %I from anon, authenticated', t);
    execute format('grant select on %I to authenticated', t);
    execute format('grant all on %I to service_role', t);
    execute format('drop policy if exists staff_read on %I', t);
    execute format($p$create policy staff_read on %I for select to authenticated
      using (coalesce((select auth.jwt())->'app_metadata'->>'role', '') in ('ops', 'admin'))$p$, t);
  end loop;
end $$;
revoke execute on function ingest_call_events(jsonb), store_call_rows(jsonb, jsonb, jsonb, jsonb, jsonb, jsonb),
  upsert_recording(jsonb),
  purge_calls(timestamptz, integer) from public, anon, authenticated;
grant execute on function ingest_call_events(jsonb), store_call_rows(jsonb, jsonb, jsonb, jsonb, jsonb, jsonb),
  upsert_recording(jsonb),
  purge_calls(timestamptz, integer) to service_role;
