-- The record of calls, in the two tables as they have always been: a row a call, a row an event.
-- Every statement may be run again over itself.
create table if not exists calls (
  id uuid primary key default gen_random_uuid(),
  call_sid text unique not null,
  from_number text,
  to_number text,
  direction text,
  transcript text,
  intent text,
  meta jsonb default '{}'::jsonb,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);
create index if not exists idx_calls_call_sid on calls(call_sid);
create index if not exists idx_calls_created_at on calls(created_at desc);

create table if not exists call_events (
  id uuid primary key default gen_random_uuid(),
  call_sid text not null,
  event_type text not null,
  payload jsonb default '{}'::jsonb,
  created_at timestamptz default now()
);
create index if not exists idx_call_events_call_sid on call_events(call_sid);
create index if not exists idx_call_events_created_at on call_events(created_at desc);
