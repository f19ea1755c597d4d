-- What goes well with an item comes in with the menu.

-- `put_menu`, and of an item that says it (pairings: a list of id and upsell, the best first) what goes well with it, in
-- place of what was known. Nothing at all is written where one names an item that the market does not have: `unknown`.
create or replace function put_menu_and_pairings(p_market text, p_items jsonb, p_replace boolean default false,
  p_dry_run boolean default false)
returns jsonb language plpgsql set search_path = public, pg_temp as $$
declare
  unknown jsonb;
  counts jsonb;
begin
  lock table menu_items in share row exclusive mode;
  with named as (
    select i ->> 'id' as item_id, p ->> 'id' as paired_id
      from jsonb_array_elements(p_items) i
      cross join jsonb_array_elements(coalesce(nullif(i -> 'pairings', 'null'), '[]')) p)
  select coalesce(jsonb_agg(distinct paired_id), '[]') into unknown from named
    where not exists (select from jsonb_array_elements(p_items) i where i ->> 'id' = paired_id)
      and not exists (select from menu_items m where m.id = paired_id and m.market = p_market);
  counts := put_menu(p_market, p_items, p_replace, p_dry_run or unknown <> '[]') || jsonb_build_object('unknown', unknown);
  if p_dry_run or unknown <> '[]' or counts -> 'strangers' <> '[]' then
    return counts;
  end if;
  delete from pairings where item_id in (
    select i ->> 'id' from jsonb_array_elements(p_items) i where jsonb_typeof(i -> 'pairings') = 'array');
  insert into pairings (item_id, paired_item_id, upsell, priority)
    select i ->> 'id', p.pairing ->> 'id', p.pairing ->> 'upsell', jsonb_array_length(i -> 'pairings') - p.place
      from jsonb_array_elements(p_items) i
      cross join jsonb_array_elements(coalesce(nullif(i -> 'pairings', 'null'), '[]')) with ordinality p(pairing, place);
  return counts;
end $$;
revoke execute on function put_menu_and_pairings(text, jsonb, boolean, boolean) from public, anon, authenticated;
grant execute on function put_menu_and_pairings(text, jsonb, boolean, boolean) to service_role;
