// A Supabase Edge Function that takes the events of calls and stores them in `call_events`.
//
//   supabase secrets set CALL_WEBHOOK_SECRET=...        the same as in the gateway's settings
//   supabase functions deploy call-webhook              verify_jwt is off for it in supabase/config.toml
//
// and CALL_WEBHOOK_URL=https://<project>.supabase.co/functions/v1/call-webhook in the gateway's. The platform's own check
// of a token is switched off because the gateway has none: what the function believes is the signature alone.

import { handle, type Settings } from "./handler.ts";

/** A project has its secret keys in a dictionary; older ones have the service_role key, and so may newer ones. */
function secretKey(): string {
  try {
    const keys: Record<string, string> = JSON.parse(Deno.env.get("SUPABASE_SECRET_KEYS") ?? "{}");
    const first = keys["default"] ?? Object.values(keys)[0];
    if (first) {
      return first;
    }
  } catch {
    console.error("SUPABASE_SECRET_KEYS is no JSON");
  }
  return Deno.env.get("SUPABASE_SERVICE_ROLE_KEY") ?? "";
}

const settings: Settings = {
  secrets: (Deno.env.get("CALL_WEBHOOK_SECRET") ?? "").split(",").map((each) => each.trim()).filter(Boolean),
  url: Deno.env.get("SUPABASE_URL") ?? "",
  key: secretKey(),
};

Deno.serve((request) => handle(request, settings, Date.now() / 1000));
