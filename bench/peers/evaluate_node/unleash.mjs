// The Unleash client for Node, from bootstrapped data.  It hashes otherwise: the share of contexts is what must agree.
import { Unleash } from 'unleash-client';
import { serve } from './timed.mjs';

const strategy = (rollout, constraints) => ({
  name: 'flexibleRollout', constraints, parameters: { rollout, stickiness: 'userId', groupId: 'checkout' },
});
const unleash = new Unleash({
  url: 'http://127.0.0.1:9/', appName: 'bench', disableMetrics: true, refreshInterval: 0, skipInstanceCountWarning: true,
  bootstrap: {
    data: [{
      name: 'checkout', enabled: true, type: 'release', variants: [],
      strategies: [
        strategy('100', [{ contextName: 'country', operator: 'IN', values: ['de', 'fr', 'us'], inverted: false, caseInsensitive: false }]),
        strategy('50', []),
      ],
    }],
  },
});
unleash.on('error', () => {});
unleash.on('warn', () => {});
await new Promise((resolve) => { unleash.isSynchronized() ? resolve() : unleash.once('synchronized', resolve); });
const value = (context) => unleash.isEnabled('checkout', context);
await serve((context) => (value(context), 1), (contexts) => {
  const on = contexts.filter(value).length;
  return { 'checkout 0': on, 'checkout 1': contexts.length - on };
}, ({ key, country, plan, email }) => ({ userId: key, properties: { country, plan, email } }));
