// @ts-check
// Every replica campaigns for each name. A leader does small steps for `jobMs` and resigns.

import { resultOf } from '../result.js';

/** @import { Stage } from '../workloads.js' */

/** @param {Stage} stage */
export async function elections({ solo, orders, note, handler }) {
  let count = 0;
  const campaigns = orders.names.map((name) => {
    const election = solo.elect(name, {
      async onElected(term) {
        const id = String((count += 1));
        await handler(id, name, term);
        // Resigning waits for this function, so it is not waited for.
        void election.resign();
      },
    });
    note({ kind: 'asked', id: `campaign ${name}`, name });
    void resultOf(election.finished.then(() => ({ status: /** @type {const} */ ('ran') }))).then((result) =>
      note({ kind: 'answered', id: `campaign ${name}`, name, result }),
    );
    return election;
  });
  return async () => {
    await Promise.all(campaigns.map((election) => election.stop()));
  };
}
