-- Erasing a person, for `voice-gateway erase`: the calls, the rows that hold the number in a column for it, and the number
-- wherever else it stands. forms: the number's digits in every way a column may hold them. pattern: a regular expression
-- that finds it in text; null where only calls are named. Only the gateway's own tables are touched: a project may be shared.

create or replace function number_digits(number text) returns text language sql immutable set search_path = '' as
$$ select regexp_replace(split_part(number, '@', 1), '\D', '', 'g') $$;

create or replace function gateway_tables() returns text[] language sql immutable set search_path = '' as
$$ select array['calls', 'call_events', 'call_turns', 'call_usage', 'call_consents', 'call_recordings', 'orders', 'messages',
  'appointments', 'customers', 'members', 'savings_accounts', 'vouchers'] $$;

-- The same value without the number: strings, keys, and whole numbers that are it.
create or replace function without_number(value jsonb, pattern text) returns jsonb
language plpgsql immutable set search_path = public, pg_temp as $$
begin
  return case jsonb_typeof(value)
    when 'string' then to_jsonb(regexp_replace(value #>> '{}', pattern, '[erased]', 'g'))
    when 'number' then case when value::text ~ ('^(?:' || pattern || ')$') then '"[erased]"' else value end
    when 'array' then (
      select coalesce(jsonb_agg(without_number(e, pattern) order by n), '[]')
        from jsonb_array_elements(value) with ordinality as _(e, n))
    when 'object' then (
      select coalesce(jsonb_object_agg(regexp_replace(k, pattern, '[erased]', 'g'), without_number(v, pattern)), '{}')
        from jsonb_each(value) as _(k, v))
    else value end;
end $$;

-- Whose calls: the caller of a call that came in, the called one of a call that went out; and calls that belong to these.
-- lines: how many calls came in on the number, which is then a line and no person.
create or replace function find_person_calls(sids text[], forms text[]) returns jsonb
language plpgsql stable set search_path = public, pg_temp set statement_timeout = '300s' as $$
declare
  found text[];
  n_lines integer;
begin
  select coalesce(array_agg(call_sid), '{}') || sids into found from calls
    where number_digits(case when direction like 'outbound%' then to_number else from_number end) = any(forms);
  select found || coalesce(array_agg(call_sid), '{}') into found from calls where parent_call_sid = any(found);
  select count(*) into n_lines from calls
    where direction is distinct from 'outbound' and number_digits(to_number) = any(forms);
  return jsonb_build_object('call_sids', (select coalesce(jsonb_agg(distinct s), '[]') from unnest(found) s),
    'lines', n_lines);
end $$;

-- The conditions under which a row of a table is the person's (`whose`) or mentions him (`mentions`), as SQL over
-- $1 sids, $2 forms, $3 pattern.
create or replace function person_conditions(of_table regclass, out whose text, out mentions text)
language sql stable set search_path = public, pg_temp as $$
  select
    coalesce(string_agg(case
      when attname in ('call_sid', 'parent_call_sid', 'redeemed_call_sid') then format('%I = any($1)', attname)
      when attname in ('phone', 'customer_phone', 'from_phone') then format('number_digits(%I) = any($2)', attname)
      when attname = 'customer_id' and to_regclass('public.customers') is not null then
        format('%I in (select id from customers where number_digits(phone) = any($2))', attname)
    end, ' or '), 'false'),
    coalesce(string_agg(case
      when atttypid in ('text'::regtype, 'varchar'::regtype, 'jsonb'::regtype, 'json'::regtype)
        then format('%I::text ~ $3', attname)
    end, ' or '), 'false')
  from pg_attribute where attrelid = of_table and attnum > 0 and not attisdropped and attgenerated = ''
$$;

-- In each table, how many rows have anything of the person.
create or replace function find_person(sids text[], forms text[], pattern text) returns jsonb
language plpgsql stable set search_path = public, pg_temp set statement_timeout = '300s' as $$
declare
  t regclass;
  n bigint;
  whose text;
  mentions text;
  found jsonb := '{}';
begin
  for t in select c.oid from pg_class c where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace
      and c.relname = any(gateway_tables()) order by c.relname loop
    select p.whose, p.mentions into whose, mentions from person_conditions(t) p;
    execute format('select count(*) from %s where (%s) or ($3 is not null and (%s))', t, whose, mentions)
      into n using sids, forms, pattern;
    found := found || jsonb_build_object(t::text, n);
  end loop;
  return found;
end $$;

-- Removes and replaces; returns how many rows of each table were concerned. A member's savings stay, without name and
-- number: they are in the books.
create or replace function erase_person(sids text[], forms text[], pattern text) returns jsonb
language plpgsql set search_path = public, pg_temp set statement_timeout = '300s' as $$
declare
  t regclass;
  n bigint;
  n_text bigint;
  whose text;
  mentions text;
  changes text;
  done jsonb := '{}';
begin
  for t in select c.oid from pg_class c where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace
      and c.relname = any(gateway_tables())
      -- Rows that name others go before these.
      order by array_position(array['appointments', 'customers', 'members', 'calls'], c.relname::text) nulls first, c.relname
  loop
    select p.whose, p.mentions into whose, mentions from person_conditions(t) p;
    execute case t::text
      when 'members' then format($q$update %s set full_name = '[erased]', phone = null where (%s) $q$, t, whose)
      when 'vouchers' then format('update %s set redeemed_call_sid = null where (%s)', t, whose)
      else format('delete from %s where (%s)', t, whose)
    end using sids, forms, pattern;
    get diagnostics n = row_count;
    n_text := 0;
    if pattern is not null and mentions <> 'false' then
      select string_agg(case
          when atttypid = 'jsonb'::regtype then format('%1$I = without_number(%1$I, $3)', attname)
          when atttypid = 'json'::regtype then format('%1$I = without_number(%1$I::jsonb, $3)::json', attname)
          else format($q$%1$I = regexp_replace(%1$I, $3, '[erased]', 'g')$q$, attname) end, ', ')
        into changes from pg_attribute
        where attrelid = t and attnum > 0 and not attisdropped and attgenerated = ''
          and atttypid in ('text'::regtype, 'varchar'::regtype, 'jsonb'::regtype, 'json'::regtype);
      begin
        execute format('update %s set %s where %s', t, changes, mentions) using sids, forms, pattern;
        get diagnostics n_text = row_count;
      exception when integrity_constraint_violation then
        n_text := 0; -- a key that other rows name: it stays, and find_person tells
      end;
    end if;
    done := done || jsonb_build_object(t::text, n + n_text);
  end loop;
  return done;
end $$;

revoke execute on function find_person_calls(text[], text[]), find_person(text[], text[], text),
  erase_person(text[], text[], text), person_conditions(regclass), without_number(jsonb, text), number_digits(text), gateway_tables()
  from public, anon, authenticated;
grant execute on function find_person_calls(text[], text[]), find_person(text[], text[], text),
  erase_person(text[], text[], text), person_conditions(regclass), without_number(jsonb, text), number_digits(text), gateway_tables()
  to service_role;
