import { solo } from './solo.ts';

process.once('SIGTERM', () => {
  // Claims nothing more, asks running handlers to stop, waits for them, and releases their locks.
  solo.close({ graceMs: 20_000 }).catch((error: unknown) => {
    console.error(error); // names the handlers that still run
    process.exit(1);
  });
});
