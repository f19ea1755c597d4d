-- What the tools ask of the database, each in one step: joins and sums that they read, and writes that must happen as a
-- whole however many ask at the same moment. Every function has the rights of whoever calls it: the gateway alone.
create index if not exists idx_appointments_phone on appointments(customer_phone) where status = 'booked';

-- --- reading --------------------------------------------------------------------------------------------------------

create or replace function menu_of(p_market text default null)
returns jsonb language sql stable set search_path = public, pg_temp as $$
  select coalesce(jsonb_agg(to_jsonb(m) order by m.category collate "C", m.name collate "C"), '[]')
    from menu_items m where m.available and (p_market is null or m.market = p_market)
$$;

create or replace function pairings_of(p_item_id text)
returns jsonb language sql stable set search_path = public, pg_temp as $$
  select coalesce(
      jsonb_agg(to_jsonb(m) || jsonb_build_object('upsell', p.upsell) order by p.priority desc, m.name collate "C"), '[]')
    from pairings p join menu_items m on m.id = p.paired_item_id
    where p.item_id = p_item_id and m.available
$$;

create or replace function order_of_call(p_call_sid text)
returns jsonb language sql stable set search_path = public, pg_temp as $$
  select coalesce(
      jsonb_agg(
        jsonb_build_object('order_id', o.id, 'item_id', o.item_id, 'name', m.name, 'quantity', o.quantity,
          'price', m.price, 'currency', m.currency)
        order by o.created_at, o.id), '[]')
    from orders o join menu_items m on m.id = o.item_id
    where o.call_sid = p_call_sid and o.status <> 'canceled'
$$;

-- The total of each account over some months, the first and the last included.
create or replace function profit_and_loss(p_entity text, p_first text, p_last text)
returns jsonb language sql stable set search_path = public, pg_temp as $$
  select coalesce(jsonb_agg(to_jsonb(a) order by a.account collate "C"), '[]')
    from (
      select account, min(account_name) as name, class as kind, currency, sum(amount) as amount
        from gl_lines where entity = p_entity and period between p_first and p_last
        group by account, class, currency
    ) a
$$;

create or replace function booked_periods(p_entity text)
returns jsonb language sql stable set search_path = public, pg_temp as $$
  select coalesce(jsonb_agg(distinct period order by period), '[]') from gl_lines where entity = p_entity
$$;

create or replace function tax_rules_in_force(p_jurisdiction text, p_on date)
returns jsonb language sql stable set search_path = public, pg_temp as $$
  select coalesce(jsonb_agg(to_jsonb(r) order by r.topic collate "C", r.effective_from desc), '[]')
    from tax_rules r
    where r.jurisdiction = p_jurisdiction and r.effective_from <= p_on
      and (r.effective_to is null or r.effective_to >= p_on)
$$;

create or replace function tax_jurisdictions()
returns jsonb language sql stable set search_path = public, pg_temp as $$
  select coalesce(jsonb_agg(distinct jurisdiction order by jurisdiction), '[]') from tax_rules
$$;

-- By the member's id or telephone number; the id goes first. {} when there is no such member.
create or replace function member_account(p_member text)
returns jsonb language sql stable set search_path = public, pg_temp as $$
  select coalesce(
    (select jsonb_build_object('member_id', m.id, 'full_name', m.full_name, 'balance', s.balance,
        'currency', s.currency, 'status', m.status)
      from members m join savings_accounts s on s.member_id = m.id
      where m.id = p_member or m.phone = p_member
      order by m.id = p_member desc limit 1), '{}')
$$;

create or replace function customer_of(p_phone text)
returns jsonb language sql stable set search_path = public, pg_temp as $$
  select coalesce((select to_jsonb(c) from customers c where c.phone = p_phone), '{}')
$$;

-- What overlaps a span of time.
create or replace function appointments_between(p_calendar text, p_begins timestamptz, p_ends timestamptz)
returns jsonb language sql stable set search_path = public, pg_temp as $$
  select coalesce(jsonb_agg(to_jsonb(a) order by a.starts_at), '[]')
    from appointments a
    where a.calendar = p_calendar and a.status = 'booked' and a.starts_at < p_ends and a.ends_at > p_begins
$$;

create or replace function appointments_of(p_calendar text, p_phone text, p_after timestamptz)
returns jsonb language sql stable set search_path = public, pg_temp as $$
  select coalesce(jsonb_agg(to_jsonb(a) order by a.starts_at), '[]')
    from appointments a
    where a.calendar = p_calendar and a.status = 'booked' and a.customer_phone = p_phone and a.starts_at > p_after
$$;

-- --- writing --------------------------------------------------------------------------------------------------------
-- The same p_key is the same order, message or appointment: asked for twice, it is written once and told twice.

-- {"id": null}: there is no such item to be had.
create or replace function place_order(p_item_id text, p_quantity integer, p_call_sid text default null,
  p_key text default null)
returns jsonb language plpgsql set search_path = public, pg_temp as $$
declare placed uuid;
begin
  insert into orders (call_sid, item_id, quantity, idempotency_key)
    select p_call_sid, m.id, p_quantity, p_key from menu_items m where m.id = p_item_id and m.available
    on conflict (idempotency_key) do nothing
    returning id into placed;
  if placed is null and p_key is not null then
    select id into placed from orders where idempotency_key = p_key;
  end if;
  return jsonb_build_object('id', placed);
end $$;

create or replace function take_message(p_from_name text, p_text text, p_from_phone text default null,
  p_for_whom text default null, p_urgent boolean default false, p_call_sid text default null, p_key text default null)
returns jsonb language plpgsql set search_path = public, pg_temp as $$
declare taken uuid;
begin
  insert into messages (call_sid, from_name, from_phone, for_whom, text, urgent, idempotency_key)
    values (p_call_sid, p_from_name, p_from_phone, p_for_whom, p_text, p_urgent, p_key)
    on conflict (idempotency_key) do nothing
    returning id into taken;
  if taken is null then
    select id into taken from messages where idempotency_key = p_key;
  end if;
  return jsonb_build_object('id', taken);
end $$;

-- {} when the time is taken.
create or replace function book_appointment(p_calendar text, p_starts_at timestamptz, p_ends_at timestamptz,
  p_customer_name text, p_customer_phone text default null, p_reason text default null, p_call_sid text default null,
  p_key text default null)
returns jsonb language plpgsql set search_path = public, pg_temp as $$
declare a appointments;
begin
  -- One at a time for each calendar: two that overlap would each wait for the other to end.
  perform pg_advisory_xact_lock(hashtextextended('appointments of ' || p_calendar, 0));
  select * into a from appointments where idempotency_key = p_key;
  if found then
    return to_jsonb(a);
  end if;
  insert into appointments (calendar, starts_at, ends_at, customer_name, customer_phone, reason, call_sid, idempotency_key)
    values (p_calendar, p_starts_at, p_ends_at, p_customer_name, p_customer_phone, p_reason, p_call_sid, p_key)
    returning * into a;
  return to_jsonb(a);
exception when exclusion_violation then
  return '{}';
end $$;

-- Whether it stands under this number; canceled already is fine too. Its key is free again.
create or replace function cancel_appointment(p_id text, p_calendar text, p_phone text)
returns jsonb language plpgsql set search_path = public, pg_temp as $$
begin
  update appointments set status = 'canceled', idempotency_key = null
    where id::text = lower(btrim(p_id)) and calendar = p_calendar and customer_phone = p_phone
      and status in ('booked', 'canceled');
  return jsonb_build_object('canceled', found);
end $$;

-- Only the gateway may call these.
do $$
declare f regprocedure;
begin
  for f in select p.oid::regprocedure from pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname in (
      'menu_of', 'pairings_of', 'order_of_call', 'profit_and_loss', 'booked_periods', 'tax_rules_in_force',
      'tax_jurisdictions', 'member_account', 'customer_of', 'appointments_between', 'appointments_of',
      'place_order', 'take_message', 'book_appointment', 'cancel_appointment')
  loop
    execute format('revoke execute on function %s from public, anon, authenticated', f);
    execute format('grant execute on function %s to service_role', f);
  end loop;
end $$;
