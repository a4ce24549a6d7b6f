// usage: tabs.mjs ORIGIN CLIENT_SIDE_ID TABS
// Opens that many tabs on one origin, each with an EventSource of its own, as client-side SDKs have it, for a context of
// its own. Prints a JSON line for each tab once its first message has come, {"tab","protocol"}, and for each later message,
// {"tab","message","data"}. The end of the input closes the browser.
import { createInterface } from 'node:readline';
import { withPage } from './browser.mjs';

const [origin, clientSideId, tabs] = process.argv.slice(2);
const say = (line) => console.log(JSON.stringify(line));

// Runs in the page.
function follow({ clientSideId, tab }) {
  const context = btoa(JSON.stringify({ kind: 'user', key: `tab-${tab}` })).replace(/=+$/, '');
  const source = new EventSource(`/eval/${clientSideId}/${context}`);
  let isFirst = true;
  for (const message of ['put', 'patch', 'delete', 'ping']) {
    source.addEventListener(message, ({ data }) => {
      const [entry] = performance.getEntriesByType('navigation');
      window.say(isFirst ? { tab, protocol: entry.nextHopProtocol, message } : { tab, message, data });
      isFirst = false;
    });
  }
  source.addEventListener('error', () => window.say({ tab, error: `state ${source.readyState}` }));
}

await withPage(async (first, context) => {
  await context.route('**/favicon.ico', (route) => route.fulfill({ status: 204 }));
  for (let tab = 0; tab < Number(tabs); ++tab) {
    const page = tab === 0 ? first : await context.newPage();
    await page.exposeFunction('say', say);
    await page.goto(`${origin}/livez`);
    await page.evaluate(follow, { clientSideId, tab });
  }
  for await (const line of createInterface({ input: process.stdin })) say({ heard: line });
}, { ignoreHTTPSErrors: true });
