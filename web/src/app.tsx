import { useCallback, useEffect, useState } from 'preact/hooks';
import * as api from './api';
import { Chart } from './chart';
import { Connect } from './connect';
import { CreateFlag } from './create_flag';
import { FlagTable } from './flags';
import { HealthPanel } from './health';
import { type Evaluations, type Health, listen, type Sdks } from './live';
import { ConnectedSdks } from './sdks';

// The choice lives in the address, so that a link shows the same view.
function chosen(name: string): string | null {
  return new URLSearchParams(location.search).get(name);
}
function choose(values: Record<string, string>): void {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(values)) query.set(name, value);
  history.replaceState(null, '', `?${query}`);
}

export function App() {
  const [problem, setProblem] = useState<string | null>(null);
  const [signedIn, setSignedIn] = useState<boolean | null>(null);
  const [projects, setProjects] = useState<api.Project[]>([]);
  const [project, setProject] = useState<string | null>(chosen('project'));
  const [environments, setEnvironments] = useState<api.Environment[]>([]);
  const [environmentKey, setEnvironmentKey] = useState<string | null>(chosen('environment'));

  const explain = useCallback((error: unknown) => {
    if (error instanceof api.ApiError && error.status === 401) setSignedIn(false);
    else setProblem(error instanceof Error ? error.message : String(error));
  }, []);

  useEffect(() => {
    api
      .session()
      .then(() => setSignedIn(true))
      .then(api.projects)
      .then(({ items }) => {
        setProjects(items);
        if (!items.some(({ key }) => key === project)) setProject(items[0]?.key ?? null);
      })
      .catch(explain);
  }, []);

  useEffect(() => {
    if (!project || !signedIn) return;
    api
      .environments(project)
      .then(({ items }) => {
        setEnvironments(items);
        if (!items.some(({ key }) => key === environmentKey)) setEnvironmentKey(items[0]?.key ?? null);
      })
      .catch(explain);
  }, [project, signedIn]);

  if (signedIn === false) return <SignIn />;
  if (signedIn === null && !problem) return <main class="notice">Loading…</main>;
  const environment = environments.find(({ key }) => key === environmentKey);
  return (
    <>
      <header>
        <h1>Flagstream</h1>
        <label>
          project
          <select data-testid="project" value={project ?? ''} onChange={(e) => select(e, 'project', setProject)}>
            {projects.map(({ key, name }) => (
              <option value={key}>{name}</option>
            ))}
          </select>
        </label>
        <label>
          environment
          <select data-testid="environment" value={environmentKey ?? ''} onChange={(e) => select(e, 'environment', setEnvironmentKey)}>
            {environments.map(({ key, name }) => (
              <option value={key}>{name}</option>
            ))}
          </select>
        </label>
      </header>
      {problem && (
        <p class="problem" role="alert" data-testid="problem">
          {problem} <button onClick={() => setProblem(null)}>dismiss</button>
        </p>
      )}
      {project && environment ? (
        <EnvironmentView
          key={`${project}/${environment.key}`}
          project={project}
          environment={environment}
          onEnvironment={(changed) => setEnvironments(environments.map((each) => (each.key === changed.key ? changed : each)))}
          explain={explain}
        />
      ) : (
        <main class="notice">{projects.length ? '' : 'No project yet: flagstream project create shop --name Shop'}</main>
      )}
    </>
  );
}

function select(event: Event, name: string, set: (value: string) => void): void {
  const { value } = event.target as HTMLSelectElement;
  choose({ [name]: value });
  set(value);
}

function SignIn() {
  return (
    <main class="notice" data-testid="sign-in">
      <h1>Flagstream</h1>
      <p>
        This browser is not signed in. Open the setup link that <code>flagstream serve</code> printed, or print a new one
        with <code>flagstream keys --setup-link</code>.
      </p>
    </main>
  );
}

interface ViewProps {
  project: string;
  environment: api.Environment;
  onEnvironment: (changed: api.Environment) => void;
  explain: (error: unknown) => void;
}

function EnvironmentView({ project, environment, onEnvironment, explain }: ViewProps) {
  const [flags, setFlags] = useState<api.Flag[] | null>(null);
  const [health, setHealth] = useState<Health | null>(null);
  const [evaluations, setEvaluations] = useState<Evaluations | null>(null);
  const [sdks, setSdks] = useState<Sdks | null>(null);
  const [live, setLive] = useState(false);
  const [charted, setCharted] = useState<string | null>(chosen('flag'));

  const refresh = useCallback(() => {
    api
      .flags(project, environment.key)
      .then(({ items }) => setFlags(items))
      .catch(explain);
  }, [project, environment.key]);

  useEffect(() => {
    refresh();
    const path = `/api/internal/live?project=${encodeURIComponent(project)}&environment=${encodeURIComponent(environment.key)}`;
    return listen(path, (message) => {
      if (message.kind === 'health') setHealth(message.data);
      else if (message.kind === 'evaluations') setEvaluations(message.data);
      else if (message.kind === 'sdk') setSdks(message.data);
      else if (message.kind === 'flags') refresh();
      else setLive(message.data.open);
    });
  }, []);

  const edit = (flag: string, instructions: api.Instruction[]) =>
    api
      .edit(project, environment.key, flag, instructions)
      .catch(explain)
      .then(refresh);
  const shown = flags?.find(({ key }) => key === charted) ?? flags?.[0];
  return (
    <main class="grid">
      <section class="wide" aria-labelledby="flags-title">
        <h2 id="flags-title">Flags</h2>
        <FlagTable
          flags={flags}
          environment={environment.key}
          evaluations={evaluations}
          charted={shown?.key ?? null}
          onChart={(key) => (choose({ flag: key }), setCharted(key))}
          onEdit={edit}
        />
        <CreateFlag project={project} onCreated={refresh} />
      </section>
      <section class="wide" aria-labelledby="chart-title">
        <h2 id="chart-title">Evaluations per minute {shown && <code>{shown.key}</code>}</h2>
        {shown && <Chart key={shown.key} project={project} environment={environment.key} flag={shown} evaluations={evaluations} explain={explain} />}
      </section>
      <HealthPanel health={health} live={live} />
      <Connect project={project} environment={environment} sdks={sdks} onReset={onEnvironment} explain={explain} />
      <ConnectedSdks project={project} environment={environment.key} />
    </main>
  );
}
