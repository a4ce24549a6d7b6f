// The protocol of bench_evaluate (bench/evaluate.cc), for evaluators of JavaScript, on one thread.
import { createInterface } from 'node:readline';
import { readFileSync } from 'node:fs';

export const [dataFile, contextsFile] = process.argv.slice(2);
export const texts = readFileSync(contextsFile, 'utf8').split('\n').filter((line) => line !== '');
const BATCH_MS = 5;

// `evaluate(context)` evaluates everything for one context and returns how many flags that were; it may return a promise.
async function timed(seconds, read, evaluate) {
  const end = performance.now() + seconds * 1000;
  const before = process.cpuUsage();
  let evaluations = 0;
  let next = 0;
  do {
    const pause = performance.now() + BATCH_MS;
    do {
      for (let i = 0; i < 64; ++i) {
        const done = evaluate(read(next));
        evaluations += typeof done === 'number' ? done : await done;
        next = next + 1 === texts.length ? 0 : next + 1;
      }
    } while (performance.now() < pause);
  } while (performance.now() < end);
  const { user, system } = process.cpuUsage(before);
  return { evaluations, cpu_seconds: (user + system) / 1e6 };
}

// `prepare` makes of a context what the evaluator wants to have, before anything is timed.
export async function serve(evaluate, check, prepare = (context) => context) {
  const contexts = texts.map((text) => prepare(JSON.parse(text)));
  for await (const line of createInterface({ input: process.stdin })) {
    const [what, seconds] = line.split(' ');
    if (what === 'check') console.log(JSON.stringify(await check(contexts)));
    else {
      const read = what === 'json' ? (n) => JSON.parse(texts[n]) : (n) => contexts[n];
      console.log(JSON.stringify(await timed(Number(seconds), read, evaluate)));
    }
  }
  process.exit(0);
}
