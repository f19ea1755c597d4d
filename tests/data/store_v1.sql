-- The embedded tables as the first version made them, for the test that such a file is brought up to date.
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

create table if not exists menu_items (
  id text primary key not null,
  market text not null default 'RW' check (market in ('RW', 'MT')),
  name text not null,
  category text not null,
  price numeric not null check (price >= 0),
  currency text not null check (currency in ('RWF', 'EUR')),
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
pragma user_version = 1;
