// Replicates Hypercores in one process, over a stream between two sets of them, and prints how long that took.
//
// node hypercore.mjs COUNT SIZE CORES STORAGE
//
// COUNT blocks of SIZE random bytes are appended to CORES cores, in equal shares. Then as many empty cores download all
// of it. STORAGE is a directory for both, or "ram". The time runs from the first replicate() to the last block stored.
// Prints JSON: seconds, and blocks, those that the downloading cores then hold.

import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import Hypercore from 'hypercore'
import RAM from 'random-access-memory'

const [count, size, cores] = process.argv.slice(2, 5).map(Number)
const storage = process.argv[5] === 'ram' ? () => () => new RAM() : (name) => join(process.argv[5], name)
const share = count / cores

const sources = []
for (let number = 0; number < cores; number++) {
  const core = new Hypercore(storage(`source-${number}`))
  await core.ready()
  await core.append(Array.from({ length: share }, () => randomBytes(size)))
  sources.push(core)
}
const targets = []
for (const [number, source] of sources.entries()) {
  const core = new Hypercore(storage(`target-${number}`), source.key)
  await core.ready()
  targets.push(core)
}

const started = performance.now()
const one = sources[0].replicate(true, { keepAlive: false })
const other = targets[0].replicate(false, { keepAlive: false })
for (const core of sources.slice(1)) core.replicate(one)
for (const core of targets.slice(1)) core.replicate(other)
one.pipe(other).pipe(one)
await Promise.all(targets.map((core) => core.download({ start: 0, end: share }).done()))
const seconds = (performance.now() - started) / 1000

const blocks = targets.reduce((sum, core) => sum + core.contiguousLength, 0)
console.log(JSON.stringify({ seconds, blocks }))
process.exit(0)
