import { solo } from './solo.ts';

process.once('SIGTERM', () => {
  // Claims nothing more, asks what runs to stop, waits for it, and gives the locks back.
  solo.close({ graceMs: 20_000 }).catch((error: unknown) => {
    console.error(error); // names the handlers that still run
    process.exit(1);
  });
});
