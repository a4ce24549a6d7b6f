// What a test does with a client-side SDK, the same for all of them.  Each SDK is given as {init, identify, stop}; what
// happens is told with say(event, more).
export function actions(sdks, say) {
  let client, sdk;
  return {
    async start({ sdk: name, env, context, hash, options }) {
      sdk = sdks[name];
      const listens = (made) => made.on('change', (...told) => say('change', { flags: sdk.changed(told) }));
      try {
        client = await sdk.init(env, context, hash, options, listens);
        say('ready');
      } catch (error) {
        say('failed', { error: String(error) });
      }
    },
    async evaluate({ flag, times = 1 }) {
      let detail;
      for (let i = 0; i < times; ++i) detail = client.variationDetail(flag, null);
      say('evaluation', { value: detail.value, variation: detail.variationIndex ?? null, reason: detail.reason ?? null });
    },
    async all() {
      say('all', { flags: client.allFlags() });
    },
    async identify({ context, hash }) {
      try {
        await sdk.identify(client, context, hash);
        say('identified');
      } catch (error) {
        say('failed', { error: String(error) });
      }
    },
    async track({ key, metric }) {
      client.track(key, null, metric);
      say('tracked');
    },
    async flush() {
      await client.flush();
      say('flushed');
    },
    async stop() {
      await client?.close();
      say('stopped');
    },
  };
}

// The two SDKs before version 4, in a browser and in Node.
export const before4 = (initialize) => ({
  async init(env, context, hash, options, listens) {
    const client = initialize(env, context, { hash, flushInterval: 2000, evaluationReasons: true, sendEventsOnlyForVariation: true, ...options });
    listens(client);
    await client.waitForInitialization(20);
    return client;
  },
  identify: (client, context, hash) => client.identify(context, hash),
  changed: ([changes]) => Object.keys(changes),
});

export const from4 = (createClient) => ({
  async init(env, context, hash, options, listens) {
    const client = createClient(env, context, { flushInterval: 2, withReasons: true, ...options });
    listens(client);
    const { status, error } = await client.start({ timeout: 20, identifyOptions: hash ? { hash } : {} });
    if (status !== 'complete') throw error ?? new Error(status);
    return client;
  },
  async identify(client, context, hash) {
    const { status, error } = await client.identify(context, hash ? { hash } : {});
    if (status !== 'completed') throw error ?? new Error(status);
  },
  changed: ([, keys]) => keys,
});
