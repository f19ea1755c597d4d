-- Retention that nobody has to start: by pg_cron where the database has it, else the gateway asks for each bite itself.

-- Retention in small bites: takes calls that began before a time, the oldest first, with all that belongs to them; then
-- rows whose call is gone. Returns how many calls were taken, 0 when nothing is left to do: call it until then. A call that
-- never ended is over after a day. One whose recording is stored stays until the recording is gone or its time is over.
-- purge_after, where a call has one, stands in for its beginning.
create or replace function purge_calls(before timestamptz, batch integer default 500) returns integer
language plpgsql set search_path = public, pg_temp as $$
declare sids text[];
begin
  select array_agg(call_sid) into sids from (
    select call_sid from calls c
      where coalesce(purge_after, created_at) < before
        and (ended_at is not null or created_at < now() - interval '1 day')
        and not exists (select 1 from call_recordings r where r.call_sid = c.call_sid and r.status = 'stored'
          and (r.delete_after is null or r.delete_after > now()))
      order by created_at limit batch for update skip locked) due;
  if sids is null then
    select array_agg(distinct call_sid) into sids from (
      select call_sid from call_events e
        where created_at < before and not exists (select 1 from calls c where c.call_sid = e.call_sid)
        limit batch) lost;
  end if;
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

-- How long calls are kept, as the gateway was told (RETENTION_DAYS); 0: for ever. In a schema that no API shows.
-- scheduled_at: since when pg_cron is to see to it. ran_at: when it last did.
create schema if not exists voice_gateway;
create table if not exists voice_gateway.retention (
  only_one boolean primary key default true check (only_one),
  days integer not null default 0 check (days >= 0),
  told_at timestamptz not null default now(),
  scheduled_at timestamptz,
  ran_at timestamptz
);
alter table voice_gateway.retention enable row level security;
revoke all on voice_gateway.retention from public;
grant usage on schema voice_gateway to service_role;
grant select, insert, update on voice_gateway.retention to service_role;

-- A bite of what is due; returns how many calls it took. Run every few minutes it keeps up with anybody.
create or replace function voice_gateway.purge_due() returns integer language plpgsql set search_path = public, pg_temp as $$
declare keep integer;
begin
  update voice_gateway.retention set ran_at = now() returning days into keep;
  return case when keep > 0 then purge_calls(now() - make_interval(days => keep), 1000) else 0 end;
end $$;
revoke execute on function voice_gateway.purge_due() from public;

-- The gateway tells how many days calls are kept, 0 for ever. True: the database sees to it by itself, and did so within
-- the last day; false: purge_calls is to be called.
create or replace function keep_calls_for(days integer) returns boolean
language plpgsql set search_path = public, pg_temp as $$
declare ran_at timestamptz;
begin
  insert into voice_gateway.retention as r (days) values (keep_calls_for.days)
    on conflict (only_one) do update set days = excluded.days, told_at = now()
    returning coalesce(r.ran_at, r.scheduled_at) into ran_at;
  return coalesce(ran_at > now() - interval '1 day', false);
end $$;
revoke execute on function keep_calls_for(integer) from public, anon, authenticated;
grant execute on function keep_calls_for(integer) to service_role;

-- pg_cron needs a line in the server's configuration and one database of its own choice: where it cannot be had, the
-- gateway does the work.
do $$
begin
  if to_regclass('cron.job') is null and exists (select from pg_available_extensions where name = 'pg_cron') then
    create extension pg_cron with schema pg_catalog;
  end if;
exception when others then
  raise notice 'pg_cron is not used: %', sqlerrm;
end $$;
do $$
begin
  if to_regprocedure('cron.schedule(text, text, text)') is not null then
    execute $q$ select cron.schedule('voice-gateway-retention', '*/5 * * * *', 'select voice_gateway.purge_due()') $q$;
    insert into voice_gateway.retention (scheduled_at) values (now())
      on conflict (only_one) do update set scheduled_at = now();
  end if;
exception when others then
  raise notice 'retention is not scheduled: %', sqlerrm;
end $$;
