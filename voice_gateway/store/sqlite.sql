-- The embedded store: the tables of migrations/ in SQLite's words, column for column (tests/store proves it against
-- PostgreSQL). uuid, jsonb and timestamptz are TEXT here, times in ISO 8601 UTC with milliseconds and a Z.
create table if not exists calls (
  id text primary key not null default (lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2)
    || '-' || substr('89AB', 1 + (abs(random()) % 4), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))),
  call_sid text not null unique,
  from_number text,
  to_number text,
  direction text,
  transcript text,
  intent text,
  meta text default '{}',
  created_at text default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  updated_at text default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  status text not null default 'in_progress' check (status in
    ('queued', 'ringing', 'in_progress', 'completed', 'failed', 'busy', 'no_answer', 'canceled', 'transferred')),
  channel text not null default 'twilio' check (channel in ('twilio', 'browser', 'sip', 'api')),
  persona text,
  language text,
  model text,
  correlation_id text,
  stream_sid text,
  parent_call_sid text,
  instance_id text,
  answered_at text,
  ended_at text,
  duration_ms integer check (duration_ms >= 0),
  end_reason text,
  summary text,
  cost_usd numeric not null default 0,
  last_seq integer not null default 0,
  purge_after text
);
create index if not exists idx_calls_created_at on calls(created_at desc);
create index if not exists idx_calls_live on calls(created_at) where ended_at is null;
create index if not exists idx_calls_from on calls(from_number, created_at desc);

create table if not exists call_events (
  id text primary key not null default (lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2)
    || '-' || substr('89AB', 1 + (abs(random()) % 4), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))),
  call_sid text not null,
  event_type text not null,
  payload text default '{}',
  created_at text default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  leg integer not null default 1,
  seq integer,
  occurred_at text,
  instance_id text,
  schema_version integer not null default 1
);
create index if not exists idx_call_events_call_sid on call_events(call_sid);
create unique index if not exists uq_call_events_seq on call_events(call_sid, leg, seq) where seq is not null;

create table if not exists call_turns (
  id text primary key not null,
  call_sid text not null,
  leg integer not null default 1,
  seq integer not null,
  item_id text,
  speaker text not null check (speaker in ('user', 'assistant')),
  persona text,
  text text not null default '',
  generated text,
  start_ms integer,
  end_ms integer,
  heard_ms integer,
  total_ms integer,
  interrupted integer not null default false,
  latency_ms integer,
  created_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  unique (call_sid, leg, seq)
);

create table if not exists call_usage (
  id text primary key not null,
  call_sid text not null,
  response_id text not null,
  model text,
  input_text_tokens integer not null default 0,
  input_audio_tokens integer not null default 0,
  cached_text_tokens integer not null default 0,
  cached_audio_tokens integer not null default 0,
  output_text_tokens integer not null default 0,
  output_audio_tokens integer not null default 0,
  cost_usd numeric not null default 0,
  price_book text,
  created_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  unique (call_sid, response_id)
);

create table if not exists call_consents (
  id text primary key not null,
  call_sid text not null,
  kind text not null check (kind in ('recording', 'ai_disclosure', 'data_processing', 'marketing')),
  decision text not null check (decision in ('granted', 'denied', 'withdrawn')),
  method text not null,
  wording text,
  language text,
  evidence text not null default '{}',
  decided_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
create index if not exists idx_call_consents_call on call_consents(call_sid, kind, decided_at desc);

create table if not exists call_recordings (
  id text primary key not null,
  call_sid text not null,
  consent text,
  path text,
  media_type text not null default 'audio/wav',
  channels integer not null default 2,
  duration_ms integer check (duration_ms >= 0),
  bytes integer check (bytes >= 0),
  sha256 text,
  status text not null default 'recording' check (status in ('recording', 'stored', 'failed', 'deleted')),
  delete_after text,
  created_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  bucket text,
  uploaded_at text,
  local integer not null default true
);
create index if not exists idx_call_recordings_call on call_recordings(call_sid);

-- Recordings that are still to be brought to a bucket of Supabase Storage; triggers fill it where one is named, see
-- uploads.py. A row goes when the recording's own says that it is there, or that it is no more. refused: as in outbox.
-- given_up: somebody said so; the row stays, or the next start would note the recording again.
create table if not exists uploads (
  n integer primary key,
  recording_id text not null unique,
  call_sid text not null,
  path text not null,
  bytes integer,
  sha256 text,
  since real not null,
  tries integer not null default 0,
  refused text,
  given_up integer not null default false
);
create index if not exists idx_uploads_call on uploads(call_sid);
create trigger if not exists uploaded after update of bucket, status on call_recordings
  when new.bucket is not null or new.status = 'deleted' begin
  delete from uploads where recording_id = new.id;
end;

-- What is still to be told to Supabase, in the order it was written. An event is told from its own row; changes is JSON
-- with what it changes (`call`, `turn`, `usage`), null where nothing. since: seconds since 1970. refused: why Supabase
-- did not take it; such a row is set aside and holds up no other. Set it to null, and it is tried again.
create table if not exists outbox (
  n integer primary key,
  event_id text not null,
  call_sid text not null,
  since real not null,
  changes text,
  refused text
);
create index if not exists idx_outbox_call on outbox(call_sid);
create index if not exists idx_outbox_refused on outbox(n) where refused is not null;

-- The same for the webhook: a trigger copies what the outbox is given, where there is one; see webhook.py.
create table if not exists webhook_outbox (
  n integer primary key,
  event_id text not null,
  call_sid text not null,
  since real not null,
  changes text,
  refused text
);
create index if not exists idx_webhook_call on webhook_outbox(call_sid);
create index if not exists idx_webhook_event on webhook_outbox(event_id);
create index if not exists idx_webhook_refused on webhook_outbox(n) where refused is not null;

-- market: ISO 3166-1 alpha-2. currency: ISO 4217. price: decimal digits as text, for SQLite's own numbers with a point are
-- binary; a number that is written into it becomes such a text.
create table if not exists menu_items (
  id text primary key not null,
  market text not null default 'RW' check (market glob '[A-Z][A-Z]'),
  name text not null,
  category text not null,
  price text not null check (price glob '[0-9]*' and price not glob '*[^0-9.]*' and price not glob '*.*.*'
    and price not glob '*.?????*' and length(price) <= 17),
  currency text not null check (currency glob '[A-Z][A-Z][A-Z]'),
  description text not null default '',
  image_url text,
  tags text not null default '[]',
  available integer not null default true
);

create table if not exists pairings (
  id integer primary key not null,
  item_id text not null references menu_items(id) on delete cascade,
  paired_item_id text not null references menu_items(id) on delete cascade,
  upsell text not null,
  priority integer not null default 0,
  unique (item_id, paired_item_id)
);
create index if not exists idx_pairings_paired on pairings(paired_item_id);
