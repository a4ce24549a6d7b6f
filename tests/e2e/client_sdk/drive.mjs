// usage: drive.mjs js3|js4|node
// One client-side SDK: the browser's run in headless Chromium, in a page of another origin than the server, so that
// every request needs permission.  Reads JSON lines {"do",...} (actions.mjs) and writes what happens: the actions' own
// events, {"event":"request","method","url","status"} for every answer in the browser and {"event":"console","text"}.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { actions, before4 } from './actions.mjs';

const sdk = process.argv[2];
const say = (line) => console.log(JSON.stringify(line));
// Called where the loop begins: lines that come before it would be lost.
const commands = () => createInterface({ input: process.stdin });

if (sdk === 'node') {
  const { default: ld } = await import('launchdarkly-node-client-sdk');
  const logger = ld.basicLogger({ level: 'none' });
  const quiet = (env, context, options) => ld.initialize(env, context, { logger, ...options });
  const act = actions({ node: before4(quiet) }, (event, more) => say({ event, ...more }));
  for await (const line of commands()) {
    const command = JSON.parse(line);
    await act[command.do]({ sdk, ...command });
  }
  process.exit(0);
}

const { build } = await import('esbuild');
const { chromium } = await import('playwright-core');
const { outputFiles } = await build({
  entryPoints: [new URL('page.mjs', import.meta.url).pathname],
  bundle: true, write: false, format: 'iife', platform: 'browser', logLevel: 'error',
});
const server = createServer((request, response) => {
  const isScript = request.url === '/page.js';
  response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html');
  response.end(isScript ? outputFiles[0].text : '<!doctype html><title>shop</title><link rel="icon" href="data:,"><script src="/page.js"></script>');
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'],
});
try {
  const page = await browser.newPage();
  page.on('console', (message) => message.type() === 'error' && say({ event: 'console', text: message.text() }));
  page.on('pageerror', (error) => say({ event: 'console', text: String(error) }));
  page.on('response', (answer) => {
    const request = answer.request();
    say({ event: 'request', method: request.method(), url: answer.url(), status: answer.status() });
  });
  await page.exposeFunction('say', say);
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  for await (const line of commands()) {
    const command = JSON.parse(line);
    await page.evaluate(([name, arguments_]) => window.act[name](arguments_), [command.do, { sdk, ...command }]);
  }
} finally {
  await browser.close();
  server.close();
}
