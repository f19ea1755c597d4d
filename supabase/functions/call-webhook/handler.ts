// What the function does with a request, apart from where its settings come from.

import { isSigned } from "./signature.ts";

/** The gateway sends 256 kB at a time, or one event that is larger. */
const MOST_BYTES = 4 << 20;

export interface Settings {
  /** CALL_WEBHOOK_SECRET; several, separated by commas, while it is being replaced. */
  secrets: readonly string[];
  /** The project's address and one of its secret keys. */
  url: string;
  key: string;
}

/** Takes `{"events": [...]}` and stores them, each once. What the table refuses is named in the answer, by its index. */
export async function handle(request: Request, settings: Settings, now: number): Promise<Response> {
  if (request.method !== "POST") {
    return said(405, { error: "POST only" }, { allow: "POST" });
  }
  if (settings.secrets.length === 0 || settings.url === "" || settings.key === "") {
    return said(503, { error: "not configured: set CALL_WEBHOOK_SECRET" });
  }
  const body = await read(request);
  if (body === null) {
    return said(413, { error: "too large" });
  }
  if (!(await isSigned(request.headers, body, settings.secrets, now))) {
    return said(401, { error: "the signature or its time is not right" });
  }
  const events = parsed(body);
  if (events === null) {
    return said(400, { error: "an object with a list of events is expected" });
  }
  return await store(events, settings);
}

async function read(request: Request): Promise<Uint8Array | null> {
  if (Number(request.headers.get("content-length") ?? 0) > MOST_BYTES) {
    return null;
  }
  const body = new Uint8Array(await request.arrayBuffer());
  return body.length > MOST_BYTES ? null : body;
}

function parsed(body: Uint8Array): unknown[] | null {
  try {
    const found = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
    return Array.isArray(found?.events) ? found.events : null;
  } catch {
    return null;
  }
}

/** By the function that the gateway's own shipping uses (migrations/): what is known already changes nothing. */
async function store(events: unknown[], settings: Settings): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(`${settings.url}/rest/v1/rpc/ingest_call_events`, {
      method: "POST",
      // Both kinds of key do as bearer tokens of the Data API.
      headers: { "content-type": "application/json", apikey: settings.key, authorization: `Bearer ${settings.key}` },
      body: JSON.stringify({ events }),
      signal: AbortSignal.timeout(8000),
    });
  } catch {
    return said(503, { error: "the database cannot be reached" });
  }
  const text = await answer.text();
  if (answer.ok) {
    return new Response(text, { status: 200, headers: { "content-type": "application/json" } });
  }
  console.error("ingest_call_events", answer.status); // never what was sent: it holds what people said
  // 400 lets the gateway look for the event that is to blame; all else passes, or is ours to put right.
  return answer.status === 400
    ? said(400, { error: "the database does not take these events" })
    : said(503, { error: `the database answers with HTTP ${answer.status}` });
}

function said(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json", ...headers } });
}
