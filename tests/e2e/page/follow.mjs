// usage: follow.mjs SETUP_LINK
// Does on the page what a guide tells a person to do: reads JSON lines {"do","what","where"} from its input and answers
// each with a line once it is done.
//   choose WHAT in the list WHERE    type WHAT into the field WHERE    turn the switch WHAT    click WHAT
import { createInterface } from 'node:readline';
import { withPage } from './browser.mjs';

async function follow(page, { do: verb, what, where }) {
  if (verb === 'choose') await page.getByRole('combobox', { name: where, exact: true }).selectOption({ label: what });
  else if (verb === 'type') await page.getByRole('textbox', { name: where, exact: true }).fill(what);
  else if (verb === 'turn') await turn(page.getByRole('switch', { name: what, exact: true }));
  else await page.getByText(what, { exact: true }).click();
}

// Done when the page shows what the server has stored.
async function turn(toggle) {
  const before = await toggle.getAttribute('aria-checked');
  await toggle.click();
  const handle = await toggle.elementHandle();
  await toggle.page().waitForFunction(([e, old]) => e.getAttribute('aria-checked') !== old, [handle, before]);
}

await withPage(async (page) => {
  page.setDefaultTimeout(15000);
  await page.goto(process.argv[2]);
  await page.waitForURL('**/ui/**');
  for await (const line of createInterface({ input: process.stdin })) {
    await follow(page, JSON.parse(line));
    console.log(line);
  }
});
