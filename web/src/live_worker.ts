// The shared worker behind live.ts; its name is the path of the SSE connection.  A tab that joins is told the
// newest message of each kind at once.
import { forward, type LiveMessage } from './live';

const scope = self as unknown as { name: string; onconnect: (event: MessageEvent) => void; close(): void };
const ports = new Set<MessagePort>();
const newest = new Map<string, LiveMessage>();
let source: EventSource | undefined;

function receive(message: LiveMessage): void {
  newest.set(message.kind, message);
  for (const port of ports) port.postMessage(message);
}

scope.onconnect = (event: MessageEvent) => {
  const port = event.ports[0];
  ports.add(port);
  port.onmessage = () => {
    ports.delete(port);
    if (ports.size > 0) return;
    source?.close();
    scope.close();
  };
  for (const message of newest.values()) port.postMessage(message);
  if (!source) {
    source = new EventSource(scope.name);
    forward(source, receive);
  }
};
