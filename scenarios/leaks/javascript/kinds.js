// The four leaks and their four healthy twins. Each is called once a request.
'use strict';

const { EventEmitter } = require('node:events');

const KILOBYTES = Number(process.env.KILOBYTES || 32);
// Numbers with a fraction: neither engine has to look through them when it collects.
const FIGURES = KILOBYTES * 128;

class SessionRecord {
  constructor(id, figures) {
    this.id = id;
    this.figures = figures;
  }
}

// --- Leaks ---------------------------------------------------------------------------------

const sessions = new Map();

/** Each request leaves a session behind that nobody ends. */
function rememberSession(id) {
  sessions.set(id, new SessionRecord(id, new Array(FIGURES).fill(0.5)));
}

/** Each request starts a timer that is never cleared, with what its closure holds. */
function watchUpload(id) {
  const progress = new Array(FIGURES).fill(0.5);
  setInterval(() => progress[0] + id, 3_600_000).unref();
}

const uploads = [];

/** Each request keeps a buffer, which is outside of the script heap. */
function keepUpload() {
  uploads.push(Buffer.alloc(KILOBYTES * 1024, 1));
}

const bus = new EventEmitter();
bus.setMaxListeners(0);

/** Each request subscribes to a bus and never leaves it. */
function subscribe(id) {
  const seen = new Array(FIGURES).fill(0.5);
  bus.on('change', () => seen[0] + id);
}

// --- Twins ---------------------------------------------------------------------------------

const CACHE_MAX = Number(process.env.CACHE_MAX || 1_000);
const cache = new Map();

/** A cache to a cap: the oldest entry makes room. */
function cacheResult(id) {
  cache.set(id, new Array(FIGURES).fill(0.5));
  if (cache.size > CACHE_MAX) {
    cache.delete(cache.keys().next().value);
  }
}

const tables = [];
let warm = 0;

/** Tables that are loaded while the server is young, ever more seldom. */
function warmUp() {
  warm += 1;
  if (Math.floor(Math.log2(warm) * 40) > tables.length) {
    tables.push(new Array(FIGURES * 4).fill(0.5));
  }
}

let batch = [];

/** A batch that is gathered and handed over as a whole. */
function gather() {
  batch.push(new Array(FIGURES).fill(0.5));
  if (batch.length >= 500) {
    batch = [];
  }
}

const live = new Set();

/** A session that lives for three seconds: memory follows the traffic. */
function serveSession(id) {
  const session = new SessionRecord(id, new Array(FIGURES).fill(0.5));
  live.add(session);
  setTimeout(() => live.delete(session), 3_000).unref();
}

exports.kinds = {
  per_request: rememberSession,
  timer: watchUpload,
  buffer: keepUpload,
  listener: subscribe,
  cache: cacheResult,
  warm_up: warmUp,
  sawtooth: gather,
  diurnal: serveSession,
};
