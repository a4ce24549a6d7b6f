// What the Node drivers share: the protocol of ../README.md over the standard streams.
import { createInterface } from 'node:readline';

export const say = (event, more = {}) => console.log(JSON.stringify({ event, ...more }));

const url = process.env.FLAGSTREAM_URL;
const mode = process.env.FLAGSTREAM_MODE;
export const patience = Number(process.env.FLAGSTREAM_PATIENCE ?? 20);
export const sdkKey = process.env.FLAGSTREAM_SDK_KEY;
export const options = {
  baseUri: url,
  streamUri: url,
  eventsUri: url,
  stream: mode !== 'polling',
  pollInterval: 30,
  flushInterval: 1,
  application: { id: process.env.FLAGSTREAM_APPLICATION },
  ...(mode === 'fdv2' ? { dataSystem: {} } : {}),
};

// start() resolves when the SDK is ready; commands: name -> function of the command.
export async function drive({ start, commands, close }) {
  try {
    await start();
    say('ready');
  } catch (error) {
    say('failed', { message: String(error?.message ?? error) });
  }
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    try {
      await commands[command.command](command);
      if (command.command !== 'evaluate') say('done');
    } catch (error) {
      say('error', { message: String(error?.message ?? error) });
    }
  }
  await close();
  process.exit(0);
}
