// Live data: one SSE connection for all tabs of a browser, held by a shared worker (HTTP/1.1 allows a browser six
// connections to a host).  A browser without shared workers gets one connection per tab.

export interface Health {
  payloads: { received: number; accepted: number; duplicate: number; rejected: number };
  events: number;
  lag: { payloads: number; seconds: number };
  lake: { version: number; committedAt: number };
}
export interface Evaluations {
  flags: Record<string, Record<string, number>>; // flag -> variation index or "null" -> evaluations so far
  minute: number;
}
export interface Sdks {
  sdks: { name: string; version: string; lastSeen: number }[];
  firstEvaluation: number | null;
}
export type LiveMessage =
  | { kind: 'health'; data: Health }
  | { kind: 'evaluations'; data: Evaluations }
  | { kind: 'flags'; data: { revision: number } }
  | { kind: 'sdk'; data: Sdks }
  | { kind: 'connection'; data: { open: boolean } };

export const kinds = ['health', 'evaluations', 'flags', 'sdk'] as const;

// Calls `receive` for every message until the returned function is called.
export function listen(path: string, receive: (message: LiveMessage) => void): () => void {
  if (typeof SharedWorker === 'undefined') return listenAlone(path, receive);
  const worker = new SharedWorker(new URL('./live_worker.ts', import.meta.url), { type: 'module', name: path });
  worker.port.onmessage = (event: MessageEvent<LiveMessage>) => receive(event.data);
  worker.port.start();
  const leave = () => worker.port.postMessage('leave');
  addEventListener('pagehide', leave);
  return () => {
    removeEventListener('pagehide', leave);
    leave();
    worker.port.close();
  };
}

function listenAlone(path: string, receive: (message: LiveMessage) => void): () => void {
  const source = new EventSource(path);
  forward(source, receive);
  return () => source.close();
}

export function forward(source: EventSource, receive: (message: LiveMessage) => void): void {
  source.onopen = () => receive({ kind: 'connection', data: { open: true } });
  source.onerror = () => receive({ kind: 'connection', data: { open: false } });
  for (const kind of kinds) {
    source.addEventListener(kind, (event) => receive({ kind, data: JSON.parse((event as MessageEvent).data) } as LiveMessage));
  }
}
