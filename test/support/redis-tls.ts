/**
 * A real Redis that speaks TLS, with certificates made by openssl for the occasion.
 *
 * ```ts
 * const { redis, url, ca } = await startTlsRedis()
 * t.teardown(() => redis.stop())
 * ```
 */
import { execFileSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { scratchDirectory } from './guardian.js'
import { startRedis, type RedisProcess } from './redis-process.js'

/** How often another port is tried. */
const ATTEMPTS = 20

/** What `openssl ca` wants to know, which is the one command that takes dates of the past. */
const CONFIG = `
[ca]
default_ca = own
[own]
database = index
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
`
const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

/** Which certificate a server shows: a good one for `localhost` and `127.0.0.1`, one of last year, or one for another name. */
export type CertificateKind = 'good' | 'expired' | 'foreign'

const CERTIFICATES: Readonly<Record<CertificateKind, { names: string, dates: string[] }>> = {
  good: { names: 'DNS:localhost,IP:127.0.0.1', dates: ['-days', '2'] },
  expired: { names: 'DNS:localhost,IP:127.0.0.1', dates: ['-startdate', '20200101000000Z', '-enddate', '20210101000000Z'] },
  foreign: { names: 'DNS:elsewhere.example', dates: ['-days', '2'] }
}

/** A CA of its own, and what it signed. */
export class Certificates {
  readonly directory = scratchDirectory()

  constructor () {
    writeFileSync(join(this.directory, 'ca.cnf'), CONFIG)
    writeFileSync(join(this.directory, 'index'), '')
    this.#openssl('req', '-x509', ...KEY, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2', '-subj', '/CN=tests', '-addext', 'basicConstraints=critical,CA:TRUE')
    for (const [kind, { names, dates }] of Object.entries(CERTIFICATES)) {
      writeFileSync(join(this.directory, `${kind}.ext`), `subjectAltName=${names}\n`)
      this.#openssl('req', ...KEY, '-keyout', `${kind}.key`, '-out', `${kind}.csr`, '-subj', `/CN=${kind}`)
      this.#openssl('ca', '-batch', '-notext', '-config', 'ca.cnf', '-cert', 'ca.pem', '-keyfile', 'ca.key', '-in', `${kind}.csr`, '-out', `${kind}.pem`, '-extfile', `${kind}.ext`, ...dates)
    }
  }

  #openssl (...args: string[]): void {
    execFileSync('openssl', args, { cwd: this.directory, stdio: 'ignore' })
  }

  path (file: string): string { return join(this.directory, file) }

  read (file: string): Buffer { return readFileSync(this.path(file)) }
}

/** A server that speaks TLS on one port, and plainly on the one of `redis`. */
export interface TlsRedis { redis: RedisProcess, port: number, url: string, certificates: Certificates }

/**
 * Starts a Redis with a port for TLS besides.
 *
 * @param clients whether clients have to show a certificate of the same CA
 */
export async function startTlsRedis (kind: CertificateKind = 'good', { clients = false } = {}, certificates = new Certificates()): Promise<TlsRedis> {
  for (let attempt = 1; ; attempt++) {
    // Below the ports of `startRedis`.
    const port = randomInt(9000, 10_000)
    try {
      const redis = await startRedis({
        args: [
          '--tls-port', String(port), '--tls-cert-file', certificates.path(`${kind}.pem`), '--tls-key-file', certificates.path(`${kind}.key`),
          '--tls-ca-cert-file', certificates.path('ca.pem'), '--tls-auth-clients', clients ? 'yes' : 'no'
        ]
      })
      return { redis, port, url: `rediss://localhost:${port}`, certificates }
    } catch (error) {
      if (attempt === ATTEMPTS) throw error
    }
  }
}
