// Two classic leaks behind a switch. Both start at 0, which is the healthy twin.
//
// transactions_per_second: so often a request takes an early return out of a transaction that it has
//   begun, and neither COMMIT nor ROLLBACK nor release() ever comes.
// retained_bytes_per_request: so much of every request stays in a map that nobody ever empties.
import { sql } from "./database.ts";
import { answer, jsonBody, numberField, problem } from "./http.ts";

const settings = {
  transactions_per_second: Number(process.env.LEAK_TRANSACTIONS_PER_SECOND ?? "0"),
  retained_bytes_per_request: Number(process.env.LEAK_RETAINED_BYTES_PER_REQUEST ?? "0"),
};
let since = performance.now();
let forgotten = 0;
let retainedBytes = 0;
const requests = new Map<number, { at: Date; url: string; body: Uint8Array }>();

/** Keeps a part of a request for ever: the "recent requests" page that nobody bounded. */
export function retainRequest(request: Request): void {
  const size = settings.retained_bytes_per_request;
  if (size === 0) return;
  const body = new Uint8Array(size).fill(1 + (requests.size % 255));
  requests.set(requests.size, { at: new Date(), url: request.url, body });
  retainedBytes += size;
}

/** Whether the request at hand is to forget its transaction. */
function isTurn(): boolean {
  const seconds = (performance.now() - since) / 1000;
  return settings.transactions_per_second > 0 && seconds * settings.transactions_per_second >= 1;
}

/**
 * Looks the member up under a lock, and returns early without ending the transaction.
 * Gives back false where it is not this request's turn.
 */
export async function forgetTransaction(memberId: number): Promise<boolean> {
  if (!isTurn()) return false;
  since = performance.now();
  const connection = await sql.reserve();
  forgotten += 1;
  await connection`begin`;
  await connection`select id, name from members where id = ${memberId} for key share`;
  return true;
}

function state() {
  return {
    ...settings,
    forgotten_transactions: forgotten,
    retained_requests: requests.size,
    retained_bytes: retainedBytes,
  };
}

async function change(request: Request): Promise<Response> {
  try {
    const body = await jsonBody(request);
    const transactions = numberField(body, "transactions_per_second", settings.transactions_per_second);
    const bytes = numberField(body, "retained_bytes_per_request", settings.retained_bytes_per_request);
    settings.transactions_per_second = transactions;
    settings.retained_bytes_per_request = Math.floor(bytes);
    since = performance.now();
    return answer(200, state());
  } catch (error) {
    return problem(error);
  }
}

export const leakRoutes = {
  "/leak": { GET: async () => answer(200, state()), POST: change },
};
