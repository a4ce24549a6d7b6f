import type { Health } from './live';

function ago(ms: number): string {
  if (!ms) return 'none yet';
  const seconds = Math.max(0, Math.round((Date.now() - ms) / 1000));
  return seconds < 120 ? `${seconds} s ago` : `${Math.round(seconds / 60)} min ago`;
}

export function HealthPanel({ health, live }: { health: Health | null; live: boolean }) {
  const rows: [string, string, string][] = health
    ? [
        ['received', 'payloads received', health.payloads.received.toLocaleString('en')],
        ['accepted', 'accepted', health.payloads.accepted.toLocaleString('en')],
        ['duplicate', 'duplicate', health.payloads.duplicate.toLocaleString('en')],
        ['rejected', 'rejected', health.payloads.rejected.toLocaleString('en')],
        ['events', 'events', health.events.toLocaleString('en')],
        ['lag', 'processing lag', `${health.lag.payloads.toLocaleString('en')} payloads, ${health.lag.seconds.toFixed(1)} s`],
        ['lake', 'last lake commit', `version ${health.lake.version}, ${ago(health.lake.committedAt)}`],
      ]
    : [];
  return (
    <section aria-labelledby="health-title">
      <h2 id="health-title">
        Pipeline <span class={live ? 'lamp good' : 'lamp'} title={live ? 'live' : 'not connected'} />
      </h2>
      <dl data-testid="health">
        {rows.map(([id, title, value]) => (
          <>
            <dt>{title}</dt>
            <dd data-testid={`health-${id}`}>{value}</dd>
          </>
        ))}
      </dl>
    </section>
  );
}
