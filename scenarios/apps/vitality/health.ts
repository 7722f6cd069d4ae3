// Is the process alive, and can it do its work? The first question never touches the database.
import { sql } from "./database.ts";
import { answer } from "./http.ts";

const READY_TIMEOUT_MS = Number(process.env.READY_TIMEOUT_MS ?? "1000");

export async function health(): Promise<Response> {
  return answer(200, { status: "alive", pid: process.pid });
}

/** A database round trip, with a time limit of its own: postgres.js has none. */
export async function ready(): Promise<Response> {
  const query = sql`select 1 as one`;
  const late = Bun.sleep(READY_TIMEOUT_MS).then(() => "late" as const);
  const outcome = await Promise.race([query.then(() => "ok" as const, (error: Error) => error), late]);
  if (outcome === "ok") return answer(200, { status: "ready" });
  if (outcome !== "late") return answer(503, { status: "not ready", error: outcome.message });
  query.cancel();
  query.catch(() => {});
  return answer(503, { status: "not ready", error: `no answer in ${READY_TIMEOUT_MS} ms` });
}
