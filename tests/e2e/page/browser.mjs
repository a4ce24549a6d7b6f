// Opens Debian's Chromium for a test script and reports what the page itself complained about.
import { chromium } from 'playwright-core';

export async function withPage(body, options = {}) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'],
  });
  const context = await browser.newContext({ viewport: { width: 1280, height: 1000 }, ...options });
  const complaints = [];
  context.on('page', (page) => {
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(String(error)));
  });
  const page = await context.newPage();
  try {
    await body(page, context);
    if (complaints.length) throw new Error(`the page complained:\n${complaints.join('\n')}`);
  } catch (error) {
    console.error(error);
    if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT, fullPage: true }).catch(() => {});
    process.exitCode = 1;
  }
  await browser.close();
}
