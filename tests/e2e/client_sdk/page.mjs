// What runs in the page.
import { createClient } from '@launchdarkly/js-client-sdk';
import { initialize } from 'launchdarkly-js-client-sdk';
import { actions, before4, from4 } from './actions.mjs';

window.act = actions({ js3: before4(initialize), js4: from4(createClient) }, (event, more) => window.say({ event, ...more }));
