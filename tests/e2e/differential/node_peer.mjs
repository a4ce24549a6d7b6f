// Evaluates by the official Node SDK, which gets its data by polling as in every application.
//   in   {"data":FILE,"pairs":FILE,"answers":FILE}: flags and segments; lines of {"flag","context"}; where answers go
//   out  "done" after each
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const ld = createRequire(new URL('../node_sdk/package.json', import.meta.url))('@launchdarkly/node-server-sdk');
let data = '';
const server = createServer((_, answer) => answer.writeHead(200, { 'Content-Type': 'application/json' }).end(data));
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const url = `http://127.0.0.1:${server.address().port}`;
const silent = () => {};

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line);
  data = readFileSync(job.data);
  const client = ld.init('sdk-key', {
    baseUri: url, streamUri: url, eventsUri: url, stream: false, sendEvents: false, diagnosticOptOut: true,
    logger: { error: silent, warn: silent, info: silent, debug: silent },
  });
  await client.waitForInitialization({ timeout: 60 });
  const answers = [];
  for (const pair of readFileSync(job.pairs, 'utf8').split('\n')) {
    if (pair === '') continue;
    const { flag, context } = JSON.parse(pair);
    const { value, variationIndex, reason } = await client.variationDetail(flag, context, null);
    answers.push(JSON.stringify({ value: value ?? null, variationIndex: variationIndex ?? null, reason }));
  }
  client.close();
  writeFileSync(job.answers, answers.join('\n') + '\n');
  console.log('done');
}
process.exit(0);
