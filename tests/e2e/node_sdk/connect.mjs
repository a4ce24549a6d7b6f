// One process with the official Node SDK.  Events go out and commands come in as JSON lines:
//   out  {"event":"error","message":...}  {"event":"ready"}  {"event":"update","key":...}  {"event":"evaluation","value":...,"variationIndex":...,"reason":...}
//   in   {"flag":...,"context":...}; the end of the input ends the process
// FLAGSTREAM_MODE: streaming, polling, or fdv2 (the newer protocol, "data system").
import { createInterface } from 'node:readline';
import * as ld from '@launchdarkly/node-server-sdk';

const url = process.env.FLAGSTREAM_URL;
const say = (event, more = {}) => console.log(JSON.stringify({ event, ...more }));
const modes = {
  streaming: { stream: true },
  polling: { stream: false },
  fdv2: { dataSystem: {} },
};
const client = ld.init(process.env.FLAGSTREAM_SDK_KEY, {
  baseUri: url,
  streamUri: url,
  eventsUri: url,
  ...modes[process.env.FLAGSTREAM_MODE],
  pollInterval: 30,
  flushInterval: 1,
  logger: ld.basicLogger({ level: 'error' }),
});
client.on('error', (error) => say('error', { message: error.message }));

await client.waitForInitialization({ timeout: 20 });
say('ready');
client.on('update', ({ key }) => say('update', { key }));
for await (const line of createInterface({ input: process.stdin })) {
  const { flag, context } = JSON.parse(line);
  const { value, variationIndex, reason } = await client.variationDetail(flag, context, null);
  say('evaluation', { value, variationIndex: variationIndex ?? null, reason });
}
await client.flush();
client.close();
process.exit(0);
