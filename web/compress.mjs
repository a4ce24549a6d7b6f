// Writes a .gz beside each built file, so that the server compresses nothing, and holds the page to its budget.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const BUDGET_BYTES = 60_000; // JavaScript of the first load, gzipped
let javascript = 0;

function walk(folder) {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) walk(path);
    else if (/\.(js|css|html|svg)$/.test(name)) {
      const small = gzipSync(readFileSync(path), { level: 9 });
      writeFileSync(`${path}.gz`, small);
      if (name.endsWith('.js')) javascript += small.length;
    }
  }
}
walk('dist');
console.log(`${javascript} bytes of gzipped JavaScript, ${BUDGET_BYTES} allowed`);
if (javascript > BUDGET_BYTES) process.exit(1);
