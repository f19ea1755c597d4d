-- What a hosted Supabase project has from its first day, for a PostgreSQL without it: three roles and a reader of the
-- request's claims. Where they are there already, nothing here changes them.
do $$
begin
  if to_regrole('anon') is null then
    create role anon nologin noinherit;
  end if;
  if to_regrole('authenticated') is null then
    create role authenticated nologin noinherit;
  end if;
  if to_regrole('service_role') is null then
    create role service_role nologin noinherit bypassrls;
  end if;
  if to_regprocedure('auth.jwt()') is null then
    create schema if not exists auth;
    execute $f$create function auth.jwt() returns jsonb language sql stable set search_path = '' as
      $b$ select coalesce(nullif(current_setting('request.jwt.claims', true), '')::jsonb, '{}'::jsonb) $b$ $f$;
    grant usage on schema auth to anon, authenticated, service_role;
    grant execute on function auth.jwt() to anon, authenticated, service_role;
  end if;
  if to_regnamespace('extensions') is null then
    create schema extensions;
    grant usage on schema extensions to anon, authenticated, service_role;
  end if;
end $$;
grant usage on schema public to anon, authenticated, service_role;
