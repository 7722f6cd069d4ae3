// The `t` of postgres.js's tests, for a run that goes on after a failure: one after the other, each with
// the tests' own time limit, and one line a test, "ok line N: NAME" or "FAILED line N: NAME". What a
// failed test has left of the names that many use is taken away, so that it is not counted twice.

import { spawnSync } from 'child_process'
import util from 'util'

const TIDY = 'drop table if exists test cascade; drop publication if exists alltables'

const only = (process.env.ONLY || '').split('\n').filter(Boolean)
let queue = Promise.resolve()
let registered = 0
let done = 0

// Left out by the suite itself.
export const nt = () => {}
export const ot = (...rest) => t(...rest)

export function t(name, options, run) {
  if (typeof options !== 'object') [options, run] = [{}, options]
  const line = new Error().stack.split('\n')[2].match(':([0-9]+):')[1]
  const full = `line ${line}: ${name}`
  if (only.length && !only.includes(full)) return
  registered++
  queue = queue.then(() => one(full, options, run))
}
t.timeout = 5

async function one(name, options, run) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('timed out')), (options.timeout || t.timeout) * 1000)
  })
  try {
    const answer = await Promise.race([late, (async() => run())()])
    if (!Array.isArray(answer)) throw new Error('a test returns [expected, got]')
    const [expected, got] = await Promise.all(answer)
    if (expected !== got) throw new Error(`${util.inspect(expected)} != ${util.inspect(got)}`)
    console.log('ok ' + name)
  } catch (error) {
    console.log(`FAILED ${name}\n  ${util.inspect(error).replaceAll('\n', '\n  ')}`)
    tidy()
  }
  clearTimeout(timer)
  if (++done === registered) process.exit(0)
}

function tidy() {
  const { TIDY_HOST, TIDY_PORT } = process.env
  spawnSync('psql', ['-qX', '-h', TIDY_HOST, '-p', TIDY_PORT, '-U', 'postgres', '-c', TIDY, 'postgres_js_test'])
}

// One that was forgotten by a failed test must not end the others.
process.on('unhandledRejection', error => console.log('  unhandled: ' + util.inspect(error)))
process.on('uncaughtException', error => console.log('  uncaught: ' + util.inspect(error)))
