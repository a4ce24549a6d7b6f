// OpenFeature's server SDK with LaunchDarkly's provider for Node, behind the protocol of ../README.md.
import { LaunchDarklyProvider } from '@launchdarkly/openfeature-node-server';
import { basicLogger } from '@launchdarkly/node-server-sdk';
import { OpenFeature, ProviderEvents } from '@openfeature/server-sdk';
import { drive, options, patience, say, sdkKey } from './driver.mjs';

const provider = new LaunchDarklyProvider(sdkKey, { ...options, logger: basicLogger({ level: 'error' }) }, patience);
const client = OpenFeature.getClient();
OpenFeature.addHandler(ProviderEvents.ConfigurationChanged, ({ flagsChanged }) =>
  flagsChanged?.forEach((key) => say('update', { key })));
const methods = { boolean: 'getBooleanDetails', string: 'getStringDetails', object: 'getObjectDetails' };
const defaults = { boolean: false, string: '', object: {} };

await drive({
  start: () => OpenFeature.setProviderAndWait(provider),
  commands: {
    evaluate: async ({ flag, context, type }) => {
      const { value, variant, reason, errorCode } = await client[methods[type]](flag, defaults[type], context);
      const found = errorCode === undefined;
      say('evaluation', {
        value: found ? value : null,
        variationIndex: variant === undefined ? null : Number(variant),
        reason: found ? { kind: reason } : { kind: 'ERROR', errorKind: errorCode },
      });
    },
    track: ({ key, context, data, value }) => client.track(key, context, { ...data, value }),
    flush: () => provider.getClient().flush(),
  },
  close: () => OpenFeature.close(),
});
