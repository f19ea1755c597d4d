-- A menu in any country and any currency. market: ISO 3166-1 alpha-2; currency: ISO 4217. Prices are exact, with as many
-- digits behind the point as their currency has: none (RWF, JPY), two (EUR, USD), three (KWD, BHD), at most four.
do $$
begin
  if exists (select from information_schema.columns where table_schema = 'public' and table_name = 'menu_items'
      and column_name = 'price' and numeric_scale is not null) then
    alter table menu_items alter column price type numeric;
  end if;
end $$;
alter table menu_items drop constraint if exists menu_items_market_check;
alter table menu_items drop constraint if exists menu_items_currency_check;
alter table menu_items drop constraint if exists menu_items_price_check;
alter table menu_items
  add constraint menu_items_market_check check (market ~ '^[A-Z]{2}$'),
  add constraint menu_items_currency_check check (currency ~ '^[A-Z]{3}$'),
  add constraint menu_items_price_check check (price >= 0 and price < 1e12 and price = round(price, 4));

-- Puts a menu in: each item takes the place of the one with its id. Nothing of it when one belongs to another market.
-- p_items: objects of id, name, category, price, currency, description, image_url, tags, available. p_replace: what else
-- the market has is not available any more; it is not removed, for there may be orders of it. p_dry_run: only counts.
create or replace function put_menu(p_market text, p_items jsonb, p_replace boolean default false,
  p_dry_run boolean default false)
returns jsonb language plpgsql set search_path = public, pg_temp as $$
declare
  strangers jsonb;
  counts jsonb;
begin
  lock table menu_items in share row exclusive mode;
  select coalesce(jsonb_agg(m.id order by m.id collate "C"), '[]') into strangers
    from menu_items m join jsonb_array_elements(p_items) i on i ->> 'id' = m.id where m.market <> p_market;
  select jsonb_build_object(
      'added', count(*) filter (where m.id is null), 'replaced', count(*) filter (where m.id is not null),
      'withdrawn', (
        select count(*) from menu_items o where p_replace and o.market = p_market and o.available
          and not exists (select from jsonb_array_elements(p_items) e where e ->> 'id' = o.id)),
      'strangers', strangers)
    into counts
    from jsonb_array_elements(p_items) i left join menu_items m on m.id = i ->> 'id';
  if p_dry_run or strangers <> '[]' then
    return counts;
  end if;
  if p_replace then
    update menu_items o set available = false
      where o.market = p_market and o.available
        and not exists (select from jsonb_array_elements(p_items) e where e ->> 'id' = o.id);
  end if;
  insert into menu_items (id, market, name, category, price, currency, description, image_url, tags, available)
    select i ->> 'id', p_market, i ->> 'name', i ->> 'category', (i ->> 'price')::numeric, i ->> 'currency',
        i ->> 'description', i ->> 'image_url', i -> 'tags', (i ->> 'available')::boolean
      from jsonb_array_elements(p_items) i
    on conflict (id) do update set name = excluded.name, category = excluded.category, price = excluded.price,
      currency = excluded.currency, description = excluded.description, image_url = excluded.image_url,
      tags = excluded.tags, available = excluded.available;
  return counts;
end $$;
revoke execute on function put_menu(text, jsonb, boolean, boolean) from public, anon, authenticated;
grant execute on function put_menu(text, jsonb, boolean, boolean) to service_role;
