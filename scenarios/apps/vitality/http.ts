// Answers, and the mistakes of requests.

/** A mistake of the client, with the status that says so. */
export class RequestError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

export function answer(status: number, body?: unknown): Response {
  return body === undefined ? new Response(null, { status }) : Response.json(body, { status });
}

/** Turns whatever a handler threw into an answer. */
export function problem(error: unknown): Response {
  if (error instanceof RequestError) return answer(error.status, { error: error.message });
  const { code, message } = error as { code?: string; message: string };
  if (code === "23505") return answer(409, { error: "the email address is taken" });
  console.error(`request failed: ${code ?? "-"} ${message}`);
  return answer(503, { error: "the database did not answer", code, message });
}

export async function jsonBody(request: Request): Promise<Record<string, unknown>> {
  let body: unknown;
  try {
    body = await request.json();
  } catch {
    throw new RequestError(400, "the body is not JSON");
  }
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new RequestError(400, "the body is not a JSON object");
  }
  return body as Record<string, unknown>;
}

export function textField(body: Record<string, unknown>, name: string): string {
  const value = body[name];
  if (typeof value !== "string" || value.trim() === "" || value.length > 200) {
    throw new RequestError(400, `${name} must be a text of 1 to 200 characters`);
  }
  return value.trim();
}

export function numberField(body: Record<string, unknown>, name: string, fallback: number): number {
  const value = body[name] ?? fallback;
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) {
    throw new RequestError(400, `${name} must be a number of at least 0`);
  }
  return value;
}

export function idOf(text: string): number {
  const id = Number(text);
  if (!Number.isSafeInteger(id) || id < 1) throw new RequestError(404, "no such member");
  return id;
}
