import type { Environment } from './api';
import { Keys, type KeysProps } from './keys';
import type { Sdks } from './live';

function snippet(environment: Environment): string {
  const url = location.origin;
  return `import { init } from '@launchdarkly/node-server-sdk';

const client = init('${environment.apiKey}', {
  baseUri: '${url}',
  streamUri: '${url}',
  eventsUri: '${url}',
});
await client.waitForInitialization({ timeout: 10 });
console.log(await client.variation('my-flag', { kind: 'user', key: 'u1' }, false));`;
}

interface ConnectProps extends KeysProps {
  sdks: Sdks | null;
}

export function Connect({ project, environment, sdks, onReset, explain }: ConnectProps) {
  const connected = (sdks?.sdks.length ?? 0) > 0;
  const evaluated = sdks?.firstEvaluation != null;
  return (
    <section aria-labelledby="connect-title">
      <h2 id="connect-title">Connect your SDK</h2>
      <ul class="steps">
        <li class={connected ? 'good' : ''} data-testid="sdk-connected" data-good={connected}>
          {connected
            ? `connected: ${sdks!.sdks.map(({ name, version }) => `${name} ${version}`).join(', ')}`
            : 'waiting for an SDK to connect'}
        </li>
        <li class={evaluated ? 'good' : ''} data-testid="first-evaluation" data-good={evaluated}>
          {evaluated ? `first evaluation at ${new Date(sdks!.firstEvaluation!).toLocaleTimeString()}` : 'waiting for the first evaluation'}
        </li>
      </ul>
      <Keys project={project} environment={environment} onReset={onReset} explain={explain} />
      <pre data-testid="snippet">{snippet(environment)}</pre>
    </section>
  );
}
