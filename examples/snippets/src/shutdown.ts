import { closeOnSignals } from '@solorun/core';
import { solo } from './solo.ts';

// At SIGTERM or SIGINT: claims nothing more, asks running handlers to stop, waits for them, and releases their locks.
closeOnSignals(solo, { graceMs: 20_000 });
