-- The rows of the other tools, in SQLite; migrations/ has the same for PostgreSQL. Times are ISO 8601 in UTC.
create table if not exists orders (
  id text primary key not null,
  call_sid text,
  item_id text not null references menu_items(id),
  quantity integer not null check (quantity between 1 and 99),
  status text not null default 'placed' check (status in ('placed', 'confirmed', 'canceled')),
  idempotency_key text unique,
  created_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
create index if not exists idx_orders_call on orders(call_sid);

create table if not exists gl_lines (
  id integer primary key,
  entity text not null default 'main',
  period text not null check (period glob '[0-9][0-9][0-9][0-9]-[01][0-9]'),
  account text not null,
  account_name text not null,
  class text not null check (class in ('revenue', 'cogs', 'opex', 'other', 'tax')),
  amount numeric not null,
  currency text not null default 'EUR',
  memo text,
  unique (entity, period, account)
);

create table if not exists tax_rules (
  id text primary key not null,
  jurisdiction text not null,
  topic text not null,
  rule text not null,
  rate numeric,
  authority text not null,
  notes text not null default '',
  effective_from text not null,
  effective_to text,
  unique (jurisdiction, topic, effective_from)
);

create table if not exists members (
  id text primary key not null,
  full_name text not null,
  phone text unique,
  language text not null default 'en',
  status text not null default 'active' check (status in ('active', 'blocked'))
);
create table if not exists savings_accounts (
  member_id text primary key not null references members(id) on delete cascade,
  balance numeric not null default 0 check (balance >= 0),
  currency text not null default 'RWF'
);
create table if not exists vouchers (
  id text primary key not null,
  code text unique not null check (code = upper(code)),
  value numeric not null check (value > 0),
  currency text not null default 'RWF',
  type text not null default 'discount' check (type in ('discount', 'credit', 'gift')),
  expires_at text,
  redeemed_at text,
  redeemed_by text references members(id),
  redeemed_call_sid text
);

create table if not exists customers (
  id text primary key not null,
  full_name text not null,
  phone text unique,
  email text,
  language text not null default 'en',
  notes text not null default ''
);
create table if not exists appointments (
  id text primary key not null,
  calendar text not null default 'main',
  starts_at text not null,
  ends_at text not null check (ends_at > starts_at),
  customer_id text references customers(id) on delete set null,
  customer_name text not null,
  customer_phone text,
  reason text,
  call_sid text,
  idempotency_key text unique,
  status text not null default 'booked' check (status in ('booked', 'canceled', 'done'))
);
create index if not exists idx_appointments_booked on appointments(calendar, starts_at) where status = 'booked';

create table if not exists messages (
  id text primary key not null,
  call_sid text,
  from_name text not null,
  from_phone text,
  for_whom text,
  text text not null,
  urgent integer not null default false,
  idempotency_key text unique,
  created_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
