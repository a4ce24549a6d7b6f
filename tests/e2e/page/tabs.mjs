// usage: tabs.mjs ORIGIN SDK_KEY TABS
// Opens that many tabs on one origin, each with a stream of its own, which it reads to its end. Prints a JSON line for
// each tab once its first message has come, {"tab","protocol"}, and for each later message, {"tab","message","data"}.
// The end of the input closes the browser.
import { createInterface } from 'node:readline';
import { withPage } from './browser.mjs';

const [origin, key, tabs] = process.argv.slice(2);
const say = (line) => console.log(JSON.stringify(line));

// Runs in the page.  EventSource cannot send a credential, so that fetch reads the stream.
async function follow({ key, tab }) {
  const answer = await fetch('/all', { headers: { Authorization: key } });
  if (!answer.ok) throw new Error(`the stream is answered ${answer.status}`);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  let isFirst = true;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
      const message = /^event: ?(.*)$/m.exec(text.slice(0, end))?.[1];
      if (!message) continue;  // a heartbeat
      const [entry] = performance.getEntriesByType('navigation');
      await window.say(isFirst ? { tab, protocol: entry.nextHopProtocol }
        : { tab, message, data: /^data: ?(.*)$/m.exec(text.slice(0, end))?.[1] });
      isFirst = false;
    }
  }
}

await withPage(async (first, context) => {
  await context.route('**/favicon.ico', (route) => route.fulfill({ status: 204 }));
  for (let tab = 0; tab < Number(tabs); ++tab) {
    const page = tab === 0 ? first : await context.newPage();
    await page.exposeFunction('say', say);
    await page.goto(`${origin}/livez`);
    page.evaluate(follow, { key, tab }).catch((error) => say({ tab, error: String(error) }));
  }
  for await (const line of createInterface({ input: process.stdin })) say({ heard: line });
}, { ignoreHTTPSErrors: true });
