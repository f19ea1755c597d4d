// The signature of the gateway's webhook; voice_gateway/store/webhook.py says how it is made.

export const TIMESTAMP_HEADER = "x-voice-gateway-timestamp";
export const SIGNATURE_HEADER = "x-voice-gateway-signature";

/** How far away, in seconds, a timestamp may be: what was caught on its way is of no use later. */
export const TOLERANCE_S = 300;

/** Whether a body was signed just now by somebody who knows one of the secrets. now: seconds since 1970. */
export async function isSigned(
  headers: Headers,
  body: Uint8Array,
  secrets: readonly string[],
  now: number,
): Promise<boolean> {
  const timestamp = headers.get(TIMESTAMP_HEADER) ?? "";
  const given = fromHex(/^v1=([0-9a-f]{64})$/.exec(headers.get(SIGNATURE_HEADER) ?? "")?.[1] ?? "");
  if (!/^[0-9]{1,12}$/.test(timestamp) || Math.abs(now - Number(timestamp)) > TOLERANCE_S || given.length === 0) {
    return false;
  }
  const signed = new Uint8Array([...new TextEncoder().encode(`${timestamp}.`), ...body]);
  const answers = await Promise.all(
    secrets.filter((secret) => secret !== "").map(async (secret) => {
      const key = await crypto.subtle.importKey(
        "raw",
        new TextEncoder().encode(secret),
        { name: "HMAC", hash: "SHA-256" },
        false,
        ["verify"],
      );
      return await crypto.subtle.verify("HMAC", key, given, signed); // in constant time
    }),
  );
  return answers.includes(true);
}

function fromHex(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}
