import { useEffect, useState } from 'preact/hooks';
import * as api from './api';

const REFRESH_MS = 5_000;

// Who is connected at this moment, as the gateway counts it.
export function ConnectedSdks({ project, environment }: { project: string; environment: string }) {
  const [sdks, setSdks] = useState<api.ConnectedSdk[] | null>(null);
  useEffect(() => {
    // While the gateway cannot say, nothing is shown rather than what was true before.
    const look = () =>
      api
        .connectedSdks(project, environment)
        .then(({ items }) => setSdks(items))
        .catch(() => setSdks(null));
    look();
    const timer = setInterval(() => document.visibilityState === 'visible' && look(), REFRESH_MS);
    return () => clearInterval(timer);
  }, [project, environment]);
  return (
    <section class="wide" aria-labelledby="sdks-title">
      <h2 id="sdks-title">Connected SDKs</h2>
      {sdks === null ? (
        <p>not known at the moment</p>
      ) : sdks.length === 0 ? (
        <p>none</p>
      ) : (
        <table data-testid="connected-sdks">
          <thead>
            <tr>
              <th>SDK</th>
              <th>wrapper</th>
              <th>application</th>
              <th>instances</th>
              <th>streaming</th>
            </tr>
          </thead>
          <tbody>
            {sdks.map((sdk) => (
              <tr>
                <td>
                  {sdk.name || 'unnamed'} {sdk.version}
                </td>
                <td>{sdk.wrapper}</td>
                <td>
                  {sdk.application.id} {sdk.application.version}
                </td>
                <td>{sdk.instances.toLocaleString('en')}</td>
                <td>{sdk.streaming.toLocaleString('en')}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}
