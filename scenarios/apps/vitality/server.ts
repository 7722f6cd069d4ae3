// Vitality: members of a studio and their check-ins, over HTTP, on PostgreSQL.
//
// An ordinary API: it knows nothing of Stent, and finds its database in DATABASE_URL.
// It can be told to leak (leak.ts), which is what it is here for.
import { prepareDatabase, closeDatabase } from "./database.ts";
import { health, ready } from "./health.ts";
import { answer, problem } from "./http.ts";
import { leakRoutes, retainRequest } from "./leak.ts";
import { memberRoutes } from "./members.ts";

const BODY_BYTES_MAX = 64 * 1024;
const CLOSE_SECONDS = 2;

type Handler = (request: Request & { params: Record<string, string> }) => Promise<Response>;
type Routes = Record<string, Record<string, Handler>>;

/** Every request of the API passes here: the place where a forgotten map does its harm. */
function watched(routes: Routes): Routes {
  const wrap = (handler: Handler): Handler => async (request) => {
    retainRequest(request);
    try {
      return await handler(request);
    } catch (error) {
      return problem(error);
    }
  };
  return Object.fromEntries(
    Object.entries(routes).map(([path, methods]) => [
      path,
      Object.fromEntries(Object.entries(methods).map(([method, handler]) => [method, wrap(handler)])),
    ]),
  );
}

// Where BEGIN itself is refused, postgres.js rejects a promise of its own beside the one that its
// caller awaits. An API that dies of it would end the scenario before anybody could look.
process.on("unhandledRejection", (error) => console.error("unhandled:", String(error)));
process.on("uncaughtException", (error) => console.error("uncaught:", String(error)));

await prepareDatabase();

const server = Bun.serve({
  hostname: process.env.HOST ?? "127.0.0.1",
  port: Number(process.env.PORT ?? "0"),
  maxRequestBodySize: BODY_BYTES_MAX,
  routes: {
    "/health": { GET: health },
    "/ready": { GET: ready },
    ...leakRoutes,
    ...watched(memberRoutes),
  },
  fetch: () => answer(404, { error: "no such path" }),
});

console.log(`vitality listens on http://${server.hostname}:${server.port}`);

let stopping = false;
async function stop() {
  if (stopping) return;
  stopping = true;
  await server.stop();
  await closeDatabase(CLOSE_SECONDS);
  console.log("vitality stopped");
  process.exit(0);
}
process.on("SIGTERM", stop);
process.on("SIGINT", stop);
