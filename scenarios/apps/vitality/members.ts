// Members and their check-ins.
import { sql } from "./database.ts";
import { answer, idOf, jsonBody, RequestError, textField } from "./http.ts";
import { forgetTransaction } from "./leak.ts";

const PAGE = 50;

type Parameters = Request & { params: Record<string, string> };

async function list(): Promise<Response> {
  const rows = await sql`
    select members.id, name, email, joined_at, count(checkins.id)::int as checkins
    from members left join checkins on checkins.member_id = members.id
    group by members.id order by members.id desc limit ${PAGE}`;
  return answer(200, rows);
}

async function create(request: Request): Promise<Response> {
  const body = await jsonBody(request);
  const name = textField(body, "name");
  const email = textField(body, "email");
  const [row] = await sql`
    insert into members (name, email) values (${name}, ${email}) returning id, name, email, joined_at`;
  return answer(201, row);
}

async function read(request: Parameters): Promise<Response> {
  const [row] = await sql`
    select id, name, email, joined_at from members where id = ${idOf(request.params.id)}`;
  return found(row);
}

async function update(request: Parameters): Promise<Response> {
  const id = idOf(request.params.id);
  const body = await jsonBody(request);
  const name = textField(body, "name");
  const [row] = await sql`
    update members set name = ${name} where id = ${id} returning id, name, email, joined_at`;
  return found(row);
}

async function remove(request: Parameters): Promise<Response> {
  const result = await sql`delete from members where id = ${idOf(request.params.id)}`;
  return result.count === 0 ? found(undefined) : answer(204);
}

async function listCheckins(request: Parameters): Promise<Response> {
  const rows = await sql`
    select id, at from checkins where member_id = ${idOf(request.params.id)}
    order by at desc limit ${PAGE}`;
  return answer(200, rows);
}

/** Two statements in one transaction, as they should be, but for the leak. */
async function checkIn(request: Parameters): Promise<Response> {
  const id = idOf(request.params.id);
  if (await forgetTransaction(id)) return answer(200, { member_id: id, repeated: true });
  const row = await sql.begin(async (transaction) => {
    const [member] = await transaction`select id from members where id = ${id} for key share`;
    if (!member) throw new RequestError(404, "no such member");
    const [checkin] = await transaction`
      insert into checkins (member_id) values (${id}) returning id, member_id, at`;
    return checkin;
  });
  return answer(201, row);
}

function found(row: unknown): Response {
  if (row === undefined) throw new RequestError(404, "no such member");
  return answer(200, row);
}

export const memberRoutes = {
  "/members": { GET: list, POST: create },
  "/members/:id": { GET: read, PUT: update, DELETE: remove },
  "/members/:id/checkins": { GET: listCheckins, POST: checkIn },
};
