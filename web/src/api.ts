// The REST calls of the page.  Shapes: docs/protocols/rest.md; only the members used here are declared.

export interface Environment {
  _id: string; // the client-side id
  key: string;
  name: string;
  apiKey: string;
  mobileKey: string;
}

export interface Project {
  key: string;
  name: string;
}

export interface Variation {
  _id: string;
  value: unknown;
  name?: string;
}

export interface Rollout {
  variations: { variation: number; weight: number }[];
}

export interface FlagEnvironment {
  on: boolean;
  version: number;
  fallthrough?: { variation?: number; rollout?: Rollout };
  offVariation?: number;
  rules?: unknown[];
}

export interface Flag {
  key: string;
  name: string;
  kind: string;
  variations: Variation[];
  environments: Record<string, FlagEnvironment>;
}

export interface Series {
  series: ({ time: number } & Record<string, number>)[];
}

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

async function call<T>(method: string, path: string, body?: unknown, type = 'application/json'): Promise<T> {
  const answer = await fetch(path, {
    method,
    headers: body === undefined ? {} : { 'Content-Type': type },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  const json = text && answer.headers.get('content-type')?.startsWith('application/json') ? JSON.parse(text) : {};
  if (!answer.ok) throw new ApiError(answer.status, json.message ?? `the server answered ${answer.status}`);
  return json as T;
}

const segment = encodeURIComponent;

export const session = () => call<{ name: string }>('GET', '/api/internal/session');
export const projects = () => call<{ items: Project[] }>('GET', '/api/v2/projects');
export const environments = (project: string) =>
  call<{ items: Environment[] }>('GET', `/api/v2/projects/${segment(project)}/environments`);
export type KeyKind = 'apiKey' | 'mobileKey';
export interface OldKey {
  _id: string;
  kind: 'sdk' | 'mobile';
  value: string;
  expiry: number;
}
const keysOf = (project: string, environment: string) =>
  `/api/internal/projects/${segment(project)}/environments/${segment(environment)}/keys`;
export const oldKeys = (project: string, environment: string) =>
  call<{ items: OldKey[] }>('GET', `${keysOf(project, environment)}?limit=100`);
export const endKey = (project: string, environment: string, id: string) =>
  call<object>('DELETE', `${keysOf(project, environment)}/${segment(id)}`);
export const resetKey = (project: string, environment: string, kind: KeyKind, expiry: number | null) =>
  call<Environment>(
    'POST',
    `/api/v2/projects/${segment(project)}/environments/${segment(environment)}/${kind}${expiry === null ? '' : `?expiry=${expiry}`}`,
  );

export interface ConnectedSdk {
  name: string;
  version: string;
  wrapper: string;
  application: { id: string; version: string };
  credential: 'sdkKey' | 'mobileKey' | 'clientSideId';
  instances: number;
  streaming: number;
  lastSeen: number;
}
export const connectedSdks = (project: string, environment: string) =>
  call<{ items: ConnectedSdk[]; instances: number; uncounted: number }>(
    'GET',
    `/api/v2/projects/${segment(project)}/environments/${segment(environment)}/sdks`,
  );
export const flags = (project: string, environment: string) =>
  call<{ items: Flag[] }>('GET', `/api/v2/flags/${segment(project)}?env=${segment(environment)}&summary=0&limit=100`);
export const evaluations = (project: string, environment: string, flag: string, from: number) =>
  call<Series>(
    'GET',
    `/api/v2/usage/evaluations/${segment(project)}/${segment(environment)}/${segment(flag)}?from=${from}&to=${Date.now() + 60_000}`,
  );

export interface NewFlag {
  key: string;
  name: string;
  variations?: { value: unknown; name?: string }[];
}
export const createFlag = (project: string, flag: NewFlag) => call<Flag>('POST', `/api/v2/flags/${segment(project)}`, flag);

export type Instruction =
  | { kind: 'turnFlagOn' | 'turnFlagOff' }
  | { kind: 'updateFallthroughVariationOrRollout'; rolloutWeights: Record<string, number> };
export const edit = (project: string, environment: string, flag: string, instructions: Instruction[]) =>
  call<Flag>(
    'PATCH',
    `/api/v2/flags/${segment(project)}/${segment(flag)}`,
    { environmentKey: environment, instructions },
    'application/json; domain-model=launchdarkly.semanticpatch',
  );
