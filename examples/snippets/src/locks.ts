import { createSolo, LockTimeoutError } from '@solorun/core';
import { lockfile } from '@solorun/lockfile';

const solo = createSolo({ provider: lockfile({ directory: './locks' }), leaseMs: 10_000 });

// Migrations at start-up: one replica at a time; the second one finds nothing left to do.
try {
  await using lease = await solo.acquire('migrations', { waitMs: 60_000 });
  console.log(`migrating under fence ${lease.fence}`);
} catch (error) {
  if (error instanceof LockTimeoutError) console.error(error.message); // names the holder
  throw error;
}

// A leader: one at a time, for as long as it lives.
const election = solo.elect('clock', {
  onElected: ({ signal, fence }) => {
    console.log(`leading under fence ${fence}`);
    signal.addEventListener('abort', () => console.log('no longer'));
  },
});

// What holds here, and what would break it.
console.log(String(solo.explain()));

await election.stop();
await solo.close();
