// One process with an official OpenFeature SDK and its OFREP provider.  Settings come in the environment:
//   FLAGSTREAM_URL, FLAGSTREAM_KEY; FLAGSTREAM_PROVIDER: server, stream or poll (the last two of the web provider);
//   FLAGSTREAM_CONTEXT: the web provider's first context
// Commands come in and answers go out as JSON lines:
//   in   {"flag":...,"type":"boolean"|"string"|"number"|"object","default":...,"context":...}  {"setContext":...}
//   out  {"event":"ready"}  {"event":"failed","code":...,"status":...}  {"event":"changed","flags":[...]}
//        {"event":"evaluation","value":...,"variant":...,"reason":...,"errorCode":...,"flagMetadata":...}
import { createInterface } from 'node:readline';

const { FLAGSTREAM_URL: baseUrl, FLAGSTREAM_KEY: key, FLAGSTREAM_PROVIDER: kind } = process.env;
const say = (event, more = {}) => console.log(JSON.stringify({ event, ...more }));
const headers = key.startsWith('sdk-') ? [['Authorization', `Bearer ${key}`]] : [['X-API-Key', key]];
const methods = { boolean: 'getBooleanDetails', string: 'getStringDetails', number: 'getNumberDetails', object: 'getObjectDetails' };

async function serverSide() {
  const { OpenFeature } = await import('@openfeature/server-sdk');
  const { OFREPProvider } = await import('@openfeature/ofrep-provider');
  await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl, headers }));
  return { OpenFeature, client: OpenFeature.getClient() };
}

async function clientSide() {
  const { OpenFeature, ProviderEvents } = await import('@openfeature/web-sdk');
  const { OFREPWebProvider } = await import('@openfeature/ofrep-web-provider');
  const streams = kind === 'stream';
  const client = OpenFeature.getClient();
  client.addHandler(ProviderEvents.ConfigurationChanged, ({ flagsChanged }) => say('changed', { flags: flagsChanged }));
  client.addHandler(ProviderEvents.Stale, () => say('stale'));
  await OpenFeature.setContext(JSON.parse(process.env.FLAGSTREAM_CONTEXT));
  const provider = new OFREPWebProvider({
    baseUrl, headers, cacheMode: 'disabled', pollInterval: streams ? 0 : 200, changeDetection: streams ? 'sse' : 'polling',
  });
  await OpenFeature.setProviderAndWait(provider);
  return { OpenFeature, client };
}

try {
  const { OpenFeature, client } = await (kind === 'server' ? serverSide() : clientSide());
  say('ready');
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    if (command.setContext) {
      await OpenFeature.setContext(command.setContext);
      say('context');
      continue;
    }
    const { value, variant, reason, errorCode, errorMessage, flagMetadata } =
      await client[methods[command.type]](command.flag, command.default, command.context ?? undefined);
    say('evaluation', { value, variant, reason, errorCode, errorMessage, flagMetadata });
  }
} catch (error) {
  say('failed', { code: error.code, message: String(error), status: error.cause?.response?.status });
}
process.exit(0);
