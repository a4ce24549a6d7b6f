// flagd's evaluator for JavaScript.  It hashes otherwise: the share of contexts is what must agree.
import { FlagdCore } from '@openfeature/flagd-core';
import { serve } from './timed.mjs';

const flag = {
  state: 'ENABLED', variants: { on: true, off: false }, defaultVariant: 'off',
  targeting: { if: [{ in: [{ var: 'country' }, ['de', 'fr', 'us']] }, 'on', { fractional: [['on', 50], ['off', 50]] }] },
};
const core = new FlagdCore();
core.setConfigurations(JSON.stringify({ flags: { checkout: flag } }));
const silent = { error() {}, warn() {}, info() {}, debug() {} };
const value = (context) => core.resolveBooleanEvaluation('checkout', false, context, silent).value;
await serve((context) => (value(context), 1), (contexts) => {
  const on = contexts.filter(value).length;
  return { 'checkout 0': on, 'checkout 1': contexts.length - on };
}, ({ key, country, plan, email }) => ({ targetingKey: key, country, plan, email }));
