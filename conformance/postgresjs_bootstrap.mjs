// What postgres.js's tests import from their preparation; the users and the database are already there.

import { spawnSync } from 'child_process'

export function exec(program, args) {
  const { stderr } = spawnSync(program, args, { stdio: 'pipe', encoding: 'utf8' })
  if (stderr && !stderr.includes('already exists') && !stderr.includes('does not exist') && !stderr.includes('WARNING:'))
    throw stderr
}
