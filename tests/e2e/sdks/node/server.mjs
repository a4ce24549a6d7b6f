// The Node server SDK, or an older one of the same interface (FLAGSTREAM_PACKAGE), behind the protocol of ../README.md.
import { drive, options, patience, say, sdkKey } from './driver.mjs';

const imported = await import(process.env.FLAGSTREAM_PACKAGE ?? '@launchdarkly/node-server-sdk');
const ld = imported.init ? imported : imported.default;
const client = ld.init(sdkKey, { ...options, logger: ld.basicLogger({ level: 'error' }) });
client.on('error', () => {});  // a failed start is told by waitForInitialization
client.on('update', ({ key }) => say('update', { key }));

await drive({
  start: () => client.waitForInitialization({ timeout: patience }),
  commands: {
    evaluate: async ({ flag, context }) => {
      const { value, variationIndex, reason } = await client.variationDetail(flag, context, null);
      say('evaluation', { value, variationIndex: variationIndex ?? null, reason });
    },
    track: ({ key, context, data, value }) => client.track(key, context, data, value),
    identify: ({ context }) => client.identify(context),
    flush: () => client.flush(),
  },
  close: async () => {
    await client.flush().catch(() => {});
    client.close();
  },
});
