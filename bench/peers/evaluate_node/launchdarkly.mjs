// The LaunchDarkly server SDK for Node, with data as every application gets it and without events.
// With ALL_FLAGS it asks for the state of all flags at once.
import { createServer } from 'node:http';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import * as ld from '@launchdarkly/node-server-sdk';
import { dataFile, serve } from './timed.mjs';

const data = readFileSync(dataFile);
const keys = Object.keys(JSON.parse(data).flags);
const server = createServer((_, answer) => answer.writeHead(200, { 'Content-Type': 'application/json' }).end(data));
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const url = `http://127.0.0.1:${server.address().port}`;
const client = ld.init('sdk-key', {
  baseUri: url, streamUri: url, eventsUri: url, stream: false, sendEvents: false, diagnosticOptOut: true,
  pollInterval: 3600, logger: ld.basicLogger({ level: 'error' }),
});
await client.waitForInitialization({ timeout: 20 });

async function each(context) {
  for (const key of keys) await client.variation(key, context, null);
  return keys.length;
}
async function all(context) {
  await client.allFlagsState(context, { withReasons: false });
  return keys.length;
}
async function check(contexts) {
  const counts = {};
  for (const context of contexts) {
    for (const key of keys) {
      const { variationIndex } = await client.variationDetail(key, context, null);
      const name = `${key} ${variationIndex ?? -1}`;
      counts[name] = (counts[name] ?? 0) + 1;
    }
  }
  return counts;
}
await serve(process.env.ALL_FLAGS ? all : each, check);
