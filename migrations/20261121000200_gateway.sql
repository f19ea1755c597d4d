-- What the gateway adds to the record. Columns are only added, so every old row and every old query stays valid.
alter table calls
  add column if not exists status text not null default 'in_progress' check (status in
    ('queued', 'ringing', 'in_progress', 'completed', 'failed', 'busy', 'no_answer', 'canceled', 'transferred')),
  add column if not exists channel text not null default 'twilio' check (channel in ('twilio', 'browser', 'sip', 'api')),
  add column if not exists persona text,
  add column if not exists language text,
  add column if not exists model text,
  add column if not exists correlation_id text,
  add column if not exists stream_sid text,
  add column if not exists parent_call_sid text,
  add column if not exists instance_id text,
  add column if not exists answered_at timestamptz,
  add column if not exists ended_at timestamptz,
  add column if not exists duration_ms bigint check (duration_ms >= 0),
  add column if not exists end_reason text,
  add column if not exists summary text,
  add column if not exists cost_usd numeric(12, 6) not null default 0,
  add column if not exists last_seq bigint not null default 0,
  add column if not exists purge_after timestamptz;
create index if not exists idx_calls_live on calls(created_at) where ended_at is null;
create index if not exists idx_calls_from on calls(from_number, created_at desc);

-- leg: 2, 3, ... when a call is resumed on another worker. No foreign key to calls: events are delivered at least
-- once and in any order, so the first event may come before its call.
alter table call_events
  add column if not exists leg smallint not null default 1,
  add column if not exists seq bigint,
  add column if not exists occurred_at timestamptz,
  add column if not exists instance_id text,
  add column if not exists schema_version smallint not null default 1;
create unique index if not exists uq_call_events_seq on call_events(call_sid, leg, seq) where seq is not null;

create or replace function touch_updated_at() returns trigger language plpgsql set search_path = '' as
$$ begin new.updated_at := now(); return new; end $$;
drop trigger if exists touch on calls;
create trigger touch before update on calls for each row execute function touch_updated_at();

-- Statuses that a call does not come back from.
create or replace function is_final_status(status text) returns boolean
language sql immutable set search_path = '' as
$$ select status in ('completed', 'failed', 'busy', 'no_answer', 'canceled', 'transferred') $$;

-- Folds a patch into a call's row. Patches may be repeated and may come late:
--   the one with the higher last_seq wins, field by field; a late one only fills what is still empty;
--   meta is merged key by key under the same rule;
--   who called whom, and when it was answered, is kept as first known; so is the row's beginning, the earliest told;
--   a final status is never replaced by one that is not final: an ended call stays ended.
create or replace function upsert_call(patch jsonb) returns setof calls
language plpgsql set search_path = public, pg_temp as $$
begin
  return query
  insert into calls as c (created_at, call_sid, from_number, to_number, direction, transcript, intent, meta, status, channel, persona,
      language, model, correlation_id, stream_sid, parent_call_sid, instance_id, answered_at, ended_at, duration_ms,
      end_reason, summary, cost_usd, last_seq, purge_after)
  select coalesce(p.created_at, now()), p.call_sid, p.from_number, p.to_number, p.direction, p.transcript, p.intent, coalesce(p.meta, '{}'),
      coalesce(p.status, 'in_progress'), coalesce(p.channel, 'twilio'), p.persona, p.language, p.model, p.correlation_id,
      p.stream_sid, p.parent_call_sid, p.instance_id, p.answered_at, p.ended_at, p.duration_ms, p.end_reason, p.summary,
      coalesce(p.cost_usd, 0), coalesce(p.last_seq, 0), p.purge_after
    from jsonb_populate_record(null::calls, patch) p
  on conflict (call_sid) do update set
      created_at = least(c.created_at, (patch->>'created_at')::timestamptz),
      from_number = coalesce(c.from_number, excluded.from_number),
      to_number = coalesce(c.to_number, excluded.to_number),
      direction = coalesce(c.direction, excluded.direction),
      correlation_id = coalesce(c.correlation_id, excluded.correlation_id),
      parent_call_sid = coalesce(c.parent_call_sid, excluded.parent_call_sid),
      answered_at = coalesce(c.answered_at, excluded.answered_at),
      transcript = case when excluded.last_seq >= c.last_seq then coalesce(excluded.transcript, c.transcript) else coalesce(c.transcript, excluded.transcript) end,
      intent = case when excluded.last_seq >= c.last_seq then coalesce(excluded.intent, c.intent) else coalesce(c.intent, excluded.intent) end,
      persona = case when excluded.last_seq >= c.last_seq then coalesce(excluded.persona, c.persona) else coalesce(c.persona, excluded.persona) end,
      language = case when excluded.last_seq >= c.last_seq then coalesce(excluded.language, c.language) else coalesce(c.language, excluded.language) end,
      model = case when excluded.last_seq >= c.last_seq then coalesce(excluded.model, c.model) else coalesce(c.model, excluded.model) end,
      stream_sid = case when excluded.last_seq >= c.last_seq then coalesce(excluded.stream_sid, c.stream_sid) else coalesce(c.stream_sid, excluded.stream_sid) end,
      instance_id = case when excluded.last_seq >= c.last_seq then coalesce(excluded.instance_id, c.instance_id) else coalesce(c.instance_id, excluded.instance_id) end,
      ended_at = case when excluded.last_seq >= c.last_seq then coalesce(excluded.ended_at, c.ended_at) else coalesce(c.ended_at, excluded.ended_at) end,
      duration_ms = case when excluded.last_seq >= c.last_seq then coalesce(excluded.duration_ms, c.duration_ms) else coalesce(c.duration_ms, excluded.duration_ms) end,
      end_reason = case when excluded.last_seq >= c.last_seq then coalesce(excluded.end_reason, c.end_reason) else coalesce(c.end_reason, excluded.end_reason) end,
      summary = case when excluded.last_seq >= c.last_seq then coalesce(excluded.summary, c.summary) else coalesce(c.summary, excluded.summary) end,
      purge_after = case when excluded.last_seq >= c.last_seq then coalesce(excluded.purge_after, c.purge_after) else coalesce(c.purge_after, excluded.purge_after) end,
      meta = case when excluded.last_seq >= c.last_seq then coalesce(c.meta, '{}') || excluded.meta else excluded.meta || coalesce(c.meta, '{}') end,
      channel = case when patch->>'channel' is not null and excluded.last_seq >= c.last_seq then excluded.channel else c.channel end,
      status = case
        when patch->>'status' is null then c.status
        when is_final_status(excluded.status) <> is_final_status(c.status) then
          case when is_final_status(excluded.status) then excluded.status else c.status end
        when excluded.last_seq >= c.last_seq then excluded.status
        else c.status end,
      cost_usd = greatest(excluded.cost_usd, c.cost_usd),
      last_seq = greatest(excluded.last_seq, c.last_seq)
  returning c.*;
end $$;

-- Nothing for anon; staff read, through a claim that only the server can set; the gateway itself is service_role.
do $$
declare t text;
begin
  foreach t in array array['calls', 'call_events'] loop
    execute format('alter table %I enable row level security', t);
    execute format('revoke all on %I from anon, authenticated', t);
    execute format('grant select on %I to authenticated', t);
    execute format('grant all on %I to service_role', t);
    execute format('drop policy if exists staff_read on %I', t);
    execute format($p$create policy staff_read on %I for select to authenticated
      using (coalesce((select auth.jwt())->'app_metadata'->>'role', '') in ('ops', 'admin'))$p$, t);
  end loop;
end $$;
revoke execute on function upsert_call(jsonb) from public, anon, authenticated;
grant execute on function upsert_call(jsonb) to service_role;
