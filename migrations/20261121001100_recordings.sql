-- Recordings in Supabase Storage. Where there is no Storage the columns stay empty, and nothing else changes.

-- bucket: of the storage, where the recording lies under its path since uploaded_at; null: nowhere but with the gateway
-- that made it. local: whether that one has the file still.
alter table call_recordings
  add column if not exists bucket text,
  add column if not exists uploaded_at timestamptz,
  add column if not exists local boolean not null default true;

-- A private bucket of the name that .env.example proposes. One that is there already is left as it is.
do $$
begin
  if to_regclass('storage.buckets') is not null then
    execute $q$ insert into storage.buckets (id, name, public) values ('recordings', 'recordings', false)
      on conflict do nothing $q$;
  end if;
exception when insufficient_privilege or undefined_column then
  raise notice 'the bucket recordings was not made (%): make it on the page Storage, private', sqlerrm;
end $$;

-- Folds what is told of a recording into its row: what is known stays, and a recording that is over does not begin again.
create or replace function upsert_recording(patch jsonb) returns void
language plpgsql set search_path = public, pg_temp as $$
begin
  insert into call_recordings as r (id, call_sid, consent, path, duration_ms, bytes, sha256, status, delete_after, bucket,
      uploaded_at, local, created_at)
  select p.id, p.call_sid, p.consent, p.path, p.duration_ms, p.bytes, p.sha256, coalesce(p.status, 'recording'),
      p.delete_after, p.bucket, p.uploaded_at, coalesce(p.local, true), coalesce(p.created_at, now())
    from jsonb_populate_record(null::call_recordings, patch) p
  on conflict (id) do update set
      consent = coalesce(r.consent, excluded.consent),
      path = coalesce(r.path, excluded.path),
      duration_ms = coalesce(excluded.duration_ms, r.duration_ms),
      bytes = coalesce(excluded.bytes, r.bytes),
      sha256 = coalesce(excluded.sha256, r.sha256),
      status = case when excluded.status = 'recording' or r.status = 'deleted' then r.status else excluded.status end,
      delete_after = coalesce(excluded.delete_after, r.delete_after),
      bucket = coalesce(excluded.bucket, r.bucket),
      uploaded_at = coalesce(excluded.uploaded_at, r.uploaded_at),
      local = coalesce((patch->>'local')::boolean, r.local),
      created_at = least(r.created_at, excluded.created_at);
end $$;
