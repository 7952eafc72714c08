import fc from 'fast-check'
import * as product from './src/index.js'
import { startRedis } from './test/support/redis-process.js'
import { alike, bothStores } from './test/contract/differential.js'
const redis = await startRedis()
const pair = await bothStores({ teardown: () => {} } as any, redis, product)
const stat = new Map<string, Map<string, number>>()
const memoryOf = pair.makeMemory
;(pair as any).makeMemory = (now: any) => { const m: any = memoryOf(now); return new Proxy(m, { get (target, name) {
  const v = target[name]
  if (typeof v !== 'function' || ['subscribe', 'scan', 'inspect', 'describe'].includes(String(name))) return typeof v === 'function' ? v.bind(target) : v
  return async (...args: any[]) => { let key; try { const r = await v.apply(target, args); key = r === undefined ? 'undefined' : typeof r === 'boolean' ? String(r) : r.standing ? r.standing + (r.touched ? ' touched' : '') + (r.due ? ' due' : '') : r.outcome ? r.outcome + (r.entries.length ? '+' : '') : r.results ? (r.refusal ? 'refusal ' + r.refusal.refused : r.moved ? 'moved' : r.barred ? 'barred' : 'ok' + (r.left ? (r.left === 'nothing' ? ' bound' : ' rebound') : '') + (args[2]?.settings?.digest && name === 'write' ? ' rotated' : '')) : 'value'; return r } catch (e: any) { key = e.code; throw e } finally { const k = String(name); if (!stat.has(k)) stat.set(k, new Map()); stat.get(k)!.set(key!, (stat.get(k)!.get(key!) ?? 0) + 1) } }
} }) }
const d = await fc.check(alike(pair), { numRuns: 1500, seed: 5 })
console.log(d.failed)
for (const [k, m] of stat) console.log(k.padEnd(10), [...m].sort((a, b) => b[1] - a[1]).map(([n, c]) => `${n}: ${c}`).join(', '))
await redis.stop(); process.exit()
