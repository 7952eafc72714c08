import { test } from 'tap'
import { deviceLabel, networkOf } from '../../src/users/device.js'

test('devices by the names that people know', async (t) => {
  const agents: Record<string, string> = {
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36': 'Chrome on Windows',
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0': 'Edge on Windows',
    'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15': 'Safari on macOS',
    'Mozilla/5.0 (iPad; CPU OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0 Mobile/15E148 Safari/604.1': 'Chrome on iPad',
    'Mozilla/5.0 (Linux; Android 14; SM-S911B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36': 'Samsung Internet on Android',
    'Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36': 'Chrome on ChromeOS',
    'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 OPR/120.0.0.0': 'Opera on Linux',
    'curl/8.5.0': 'curl',
    'Mozilla/5.0 (iPhone)': 'iPhone',
    '<script>alert(1)</script>': 'Unknown device',
    '': 'Unknown device'
  }
  for (const [agent, label] of Object.entries(agents)) t.equal(deviceLabel(agent), label, agent)
  t.equal(deviceLabel(undefined), 'Unknown device')
  t.equal(deviceLabel('x'.repeat(100_000) + ' Firefox/1.0'), 'Unknown device', 'no real one is that long')
})

test('addresses without the part that tells one household from another', async (t) => {
  const networks: Record<string, string> = {
    '203.0.113.77': '203.0.113.0/24',
    '::ffff:203.0.113.77': '203.0.113.0/24',
    '2001:db8:1:2:3:4:5:6': '2001:db8:1::/48',
    '2001:DB8:1::3': '2001:db8:1::/48',
    '2001:db8::3': '2001:db8:0::/48',
    '::1': '0:0:0::/48',
    'fe80::1%eth0': 'fe80:0:0::/48',
    '64:ff9b::203.0.113.77': '64:ff9b:0::/48',
    '1:2::203.0.113.77': '1:2:0::/48',
    '::': '0:0:0::/48',
    '': '',
    unknown: '',
    '1.2.3': ''
  }
  for (const [address, network] of Object.entries(networks)) t.equal(networkOf(address), network, address)
})
