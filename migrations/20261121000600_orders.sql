-- What tools write down: orders that were taken, and messages for people. The same idempotency_key is the same order or
-- message: a tool that is tried once more does no harm.
create table if not exists orders (
  id uuid primary key default gen_random_uuid(),
  call_sid text,
  item_id text not null references menu_items(id),
  quantity integer not null check (quantity between 1 and 99),
  status text not null default 'placed' check (status in ('placed', 'confirmed', 'canceled')),
  idempotency_key text unique,
  created_at timestamptz not null default now()
);
create index if not exists idx_orders_item on orders(item_id);
create index if not exists idx_orders_call on orders(call_sid);

create table if not exists messages (
  id uuid primary key default gen_random_uuid(),
  call_sid text,
  from_name text not null,
  from_phone text,
  for_whom text,
  text text not null,
  urgent boolean not null default false,
  idempotency_key text unique,
  created_at timestamptz not null default now()
);
create index if not exists idx_messages_created_at on messages(created_at desc);

-- Only the gateway reads and writes these.
do $$
declare t text;
begin
  foreach t in array array['orders', 'messages'] loop
    execute format('alter table %I enable row level security', t);
    execute format('revoke all on %I from anon, authenticated', t);
    execute format('grant all on %I to service_role', t);
  end loop;
end $$;
