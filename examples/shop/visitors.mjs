// Visitors of the shop: multi-kind contexts (user, organization, device), the same for the same seed.

// mulberry32 (Tommy Ettinger, public domain): a small generator with a seed; numbers in [0, 1).
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const countries = ['us', 'de', 'fr', 'gb', 'jp', 'br'];
const systems = ['ios', 'android', 'windows', 'macos', 'linux'];
const plans = ['free', 'pro', 'enterprise'];

export function makeVisitors(count, next) {
  const pick = (list) => list[Math.floor(next() * list.length)];
  return Array.from({ length: count }, (_, i) => ({
    kind: 'multi',
    user: {
      key: `user-${i}`,
      name: `Visitor ${i}`,
      country: pick(countries),
      email: `visitor-${i}@example.com`,
      anonymous: next() < 0.2,
      _meta: { privateAttributes: ['email'] },
    },
    organization: { key: `org-${Math.floor(next() * 40)}`, plan: pick(plans), seats: 1 + Math.floor(next() * 200) },
    device: { key: `device-${i}`, os: pick(systems) },
  }));
}
