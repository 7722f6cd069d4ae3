// The connection to PostgreSQL and the schema.
import postgres from "postgres";

const PREPARE_TRIES = 60;

const url = process.env.DATABASE_URL;
if (!url) {
  console.error("vitality needs DATABASE_URL, such as postgres://user:password@127.0.0.1:6432/vitality");
  process.exit(2);
}

/** postgres.js queues without a time limit when all of its connections are busy. */
export const sql = postgres(url, {
  max: Number(process.env.DATABASE_POOL_MAX ?? "20"),
  connect_timeout: 5,
  connection: { application_name: process.env.APPLICATION_NAME ?? "vitality-api" },
  onnotice: () => {},
});

/** Waits for the database, then creates what is missing. */
export async function prepareDatabase(): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await createTables();
      return;
    } catch (error) {
      if (attempt === PREPARE_TRIES) throw error;
      console.error(`database not ready (attempt ${attempt}): ${(error as Error).message}`);
      await Bun.sleep(500);
    }
  }
}

async function createTables(): Promise<void> {
  await sql`create table if not exists members (
    id bigint generated always as identity primary key,
    name text not null,
    email text not null unique,
    joined_at timestamptz not null default now()
  )`;
  await sql`create table if not exists checkins (
    id bigint generated always as identity primary key,
    member_id bigint not null references members on delete cascade,
    at timestamptz not null default now()
  )`;
  await sql`create index if not exists checkins_member on checkins (member_id, at desc)`;
}

/** Ends all sessions, by force after `seconds`: a forgotten transaction never ends by itself. */
export async function closeDatabase(seconds: number): Promise<void> {
  await sql.end({ timeout: seconds });
}
