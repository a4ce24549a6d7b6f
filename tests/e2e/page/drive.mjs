// usage: drive.mjs SETUP_LINK FLAG
// Signs in by the setup link, flips the flag's switch twice and waits for the chart, the counts and the lamps.
// Prints one JSON line per step; the caller watches the running application.
import { withPage } from './browser.mjs';

const [link, flag] = process.argv.slice(2);
const say = (step, more = {}) => console.log(JSON.stringify({ step, at: Date.now(), ...more }));

await withPage(async (page, context) => {
  await page.goto(link);
  await page.waitForURL('**/ui/**');
  const cookie = (await context.cookies()).find(({ name }) => name === 'flagstream_session');
  if (!cookie?.httpOnly || cookie.sameSite === 'None') throw new Error(`cookie is ${JSON.stringify(cookie)}`);
  const toggle = page.getByTestId(`switch-${flag}`);
  await toggle.waitFor();
  await page.locator('[data-testid=sdk-connected][data-good=true]').waitFor({ timeout: 15000 });
  await page.locator('[data-testid=first-evaluation][data-good=true]').waitFor({ timeout: 15000 });
  await page.getByTestId('connected-sdks').filter({ hasText: 'NodeJSClient' }).waitFor({ timeout: 15000 });
  say('connected');

  await page.getByTestId(`chart-${flag}`).click();
  const chart = page.getByTestId('chart');
  const total = async () => Number((await chart.getAttribute('data-total')) ?? 0);
  for (let waited = 0; (await total()) === 0; waited += 100) {
    if (waited > 15000) throw new Error('the chart stays empty');
    await page.waitForTimeout(100);
  }
  for (const round of [1, 2]) {
    const before = await toggle.getAttribute('aria-checked');
    const drawn = await total();
    const began = Date.now();
    await toggle.click();
    say('clicked', { round, was: before === 'true' });
    await page.locator(`[data-testid=switch-${flag}][aria-checked=${before === 'true' ? 'false' : 'true'}]`).waitFor({ timeout: 5000 });
    while ((await total()) <= drawn) {
      if (Date.now() - began > 5000) throw new Error(`the chart did not move within 5 s of the click (${drawn})`);
      await page.waitForTimeout(50);
    }
    say('moved', { round, ms: Date.now() - began });
  }

  // A second tab shares the live connection and shows the same numbers.
  const second = await context.newPage();
  await second.goto(page.url());
  await second.getByTestId('health-accepted').waitFor();
  await second.close();

  await page.getByTestId('new-flag').click();
  await page.getByTestId('new-flag-key').fill('made-on-the-page');
  await page.getByTestId('create-flag').click();
  await page.getByTestId('rollout-made-on-the-page').click();
  await page.getByTestId('weight-made-on-the-page-0').fill('25');
  await page.getByTestId('weight-made-on-the-page-1').fill('75');
  await page.getByTestId('save-rollout-made-on-the-page').click();
  await page.locator('[data-testid=rollout-made-on-the-page]', { hasText: '25 %' }).waitFor({ timeout: 5000 });
  say('created');

  const key = page.getByTestId('sdk-key');
  const old = await key.textContent();
  await page.getByTestId('reset-sdk-key').click();
  await page.getByTestId('confirm-reset').click();
  await page.locator('[data-testid=old-key]', { hasText: old }).waitFor({ timeout: 5000 });
  if ((await key.textContent()) === old) throw new Error('the page still shows the old key');
  if (!(await page.getByTestId('snippet').textContent()).includes(await key.textContent())) throw new Error('the snippet has another key');
  await page.getByTestId('end-key').click();
  await page.getByTestId('old-key').waitFor({ state: 'detached', timeout: 5000 });
  say('rotated');
  if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT, fullPage: true });
});
