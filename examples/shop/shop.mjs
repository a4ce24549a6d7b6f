// A shop with simulated visitors, on the unmodified LaunchDarkly Node SDK.
//
//   FLAGSTREAM_SDK_KEY=sdk-... node shop.mjs [--url http://127.0.0.1:8080] [--events-url URL] [--rate 50]
//        [--evaluations N] [--visitors 500] [--seed 1] [--counts FILE] [--quiet]
//
// --rate         visits a second (each evaluates every flag); 0 goes as fast as it can
// --evaluations  stop after that many evaluations and flush
// --counts FILE  write {"evaluations":n,"flags":{flag:{variation:n}}}, counted here from our own calls
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import * as ld from '@launchdarkly/node-server-sdk';
import { makeVisitors, random } from './visitors.mjs';

const { values: options } = parseArgs({
  options: {
    url: { type: 'string', default: process.env.FLAGSTREAM_URL ?? 'http://127.0.0.1:8080' },
    'events-url': { type: 'string' },
    rate: { type: 'string', default: '50' },
    evaluations: { type: 'string', default: '0' },
    visitors: { type: 'string', default: '500' },
    seed: { type: 'string', default: '1' },
    counts: { type: 'string' },
    quiet: { type: 'boolean', default: false },
  },
});
const sdkKey = process.env.FLAGSTREAM_SDK_KEY;
if (!sdkKey) {
  console.error('shop: set FLAGSTREAM_SDK_KEY to the environment\'s SDK key (`flagstream keys` prints it)');
  process.exit(2);
}

// What the code falls back to while no flag data has arrived, by flag.
const flags = {
  'new-checkout': false,
  'banner-text': 'Welcome',
  'search-config': { engine: 'classic', pageSize: 20 },
  'dark-mode': false,
  'free-shipping': false,
};
const limit = Number(options.evaluations);
const rate = Number(options.rate);
const next = random(Number(options.seed));
const visitors = makeVisitors(Number(options.visitors), next);
const counted = { evaluations: 0, flags: {} };

const client = ld.init(sdkKey, {
  baseUri: options.url,
  streamUri: options.url,
  eventsUri: options['events-url'] ?? options.url,
  flushInterval: 1,
  application: { id: 'example-shop', version: '1.0.0' },
  logger: ld.basicLogger({ level: options.quiet ? 'error' : 'warn' }),
});

function report(line) {
  if (!options.quiet) console.log(`${new Date().toISOString().slice(11, 23)}  ${line}`);
}

async function evaluate(flag, visitor) {
  const { value, variationIndex } = await client.variationDetail(flag, visitor, flags[flag]);
  const variation = String(variationIndex ?? null);
  counted.flags[flag] ??= {};
  counted.flags[flag][variation] = (counted.flags[flag][variation] ?? 0) + 1;
  counted.evaluations += 1;
  return value;
}

async function visit() {
  const visitor = visitors[Math.floor(next() * visitors.length)];
  const seen = {};
  for (const flag of Object.keys(flags)) {
    if (limit && counted.evaluations >= limit) return;
    seen[flag] = await evaluate(flag, visitor);
  }
  client.track('page-view', visitor);
  // The new checkout sells a little better, so that an experiment on it has something to find.
  if (next() < (seen['new-checkout'] ? 0.12 : 0.1)) {
    client.track('purchase', visitor, { items: 1 + Math.floor(next() * 3) }, Math.round(next() * 10000) / 100);
  }
}

async function finish(status) {
  client.removeAllListeners('update'); // it evaluates, which must not happen after the last flush
  await client.flush();
  client.close();
  if (options.counts) writeFileSync(options.counts, JSON.stringify(counted));
  process.exit(status);
}

async function run() {
  await client.waitForInitialization({ timeout: 30 });
  report(`connected to ${options.url}`);
  client.on('update', async ({ key }) => {
    if (key in flags) report(`flag ${key} changed; a visitor now gets ${JSON.stringify(await evaluate(key, visitors[0]))}`);
  });
  let due = Date.now();
  let reported = Date.now();
  while (!limit || counted.evaluations < limit) {
    await visit();
    if (rate > 0) {
      due += 1000 / rate;
      const wait = due - Date.now();
      if (wait > 2) await new Promise((resolve) => setTimeout(resolve, wait));
    } else if (counted.evaluations % 500 === 0) {
      await new Promise((resolve) => setImmediate(resolve)); // lets the SDK flush and receive
    }
    if (Date.now() - reported >= 10000) {
      reported = Date.now();
      report(`${counted.evaluations} evaluations so far`);
    }
  }
  await finish(0);
}

for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => finish(0));
run().catch((error) => {
  console.error(`shop: ${error.message}`);
  process.exit(1);
});
