// A small HTTP server that keeps memory in one of four wrong ways or four right ones: KIND says which.
// It runs unchanged under Node and Bun. Nothing is kept before GET /start; then each GET / is one
// request's worth of whatever the kind does.
'use strict';

const http = require('node:http');
const { kinds } = require('./kinds.js');

const name = process.env.KIND || 'per_request';
const kind = kinds[name];
if (!kind) {
  console.error(`KIND is ${name}; there are ${Object.keys(kinds).join(', ')}`);
  process.exit(2);
}

let started = false;
let served = 0;

function handle(request, response) {
  served += 1;
  if (request.url === '/start') {
    started = true;
  } else if (started) {
    kind(served);
  }
  response.end('ok\n');
}

const server = http.createServer(handle);
server.listen(Number(process.env.PORT || 0), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
process.on('SIGTERM', () => process.exit(0));
