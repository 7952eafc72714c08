/**
 * The little that is kept of a device, so that people recognise their sessions: browser and system in words, and the
 * network without the part that tells one household from another.
 */
import { isIPv4, isIPv6 } from 'node:net'

/** Browsers by the word that is theirs alone; those that claim to be others come first. */
const BROWSERS: ReadonlyArray<readonly [RegExp, string]> = [
  [/\b(?:Edg|EdgA|EdgiOS|Edge)\//, 'Edge'],
  [/\b(?:OPR|Opera)\b/, 'Opera'],
  [/\bSamsungBrowser\//, 'Samsung Internet'],
  [/\bVivaldi\//, 'Vivaldi'],
  [/\bYaBrowser\//, 'Yandex Browser'],
  [/\b(?:Firefox|FxiOS)\//, 'Firefox'],
  [/\b(?:Chrome|CriOS|HeadlessChrome)\//, 'Chrome'],
  [/\bVersion\/[\d.]+.*\bSafari\//, 'Safari'],
  [/\bcurl\//, 'curl']
]
const SYSTEMS: ReadonlyArray<readonly [RegExp, string]> = [
  [/\biPad\b/, 'iPad'],
  [/\biPhone\b/, 'iPhone'],
  [/\bAndroid\b/, 'Android'],
  [/\bCrOS\b/, 'ChromeOS'],
  [/\bWindows\b/, 'Windows'],
  [/\bMac OS X\b/, 'macOS'],
  [/\bLinux\b/, 'Linux']
]
/** No real one is longer. */
const MAX_LENGTH = 512

/**
 * A short name for a device, such as `Firefox on Linux`.
 *
 * @param userAgent the header, if there is one; anybody can write anything into it
 * @returns one of a fixed set of texts, nothing of what came in
 */
export function deviceLabel (userAgent: string | undefined): string {
  const text = (userAgent ?? '').slice(0, MAX_LENGTH)
  const browser = BROWSERS.find(([sign]) => sign.test(text))?.[1]
  const system = SYSTEMS.find(([sign]) => sign.test(text))?.[1]
  if (browser === undefined) return system ?? 'Unknown device'
  return system === undefined ? browser : `${browser} on ${system}`
}

/**
 * The network of an address: the first 24 bits of IPv4, the first 48 of IPv6.
 *
 * @param address as `request.ip` says it
 * @returns such as `203.0.113.0/24` or `2001:db8:1::/48`; empty where it is no address
 */
export function networkOf (address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address
  if (isIPv4(mapped)) return `${mapped.split('.').slice(0, 3).join('.')}.0/24`
  const plain = mapped.split('%')[0]!
  if (!isIPv6(plain)) return ''
  const [head = '', tail] = plain.split('::')
  const groups = head === '' ? [] : head.split(':')
  // What '::' stands for are zeros; what follows it only matters for how many.
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const width = after.length + (after.at(-1)?.includes('.') === true ? 1 : 0)
  const all = tail === undefined ? groups : [...groups, ...Array<string>(Math.max(0, 8 - groups.length - width)).fill('0'), ...after]
  return `${all.slice(0, 3).map((group) => Number.parseInt(group, 16).toString(16)).join(':')}::/48`
}
