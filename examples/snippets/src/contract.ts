import { test } from 'node:test';
import { providerContract } from '@solorun/core/testing';
import { memory } from '@solorun/core/memory';

const provider = memory();
for (const { name, run } of providerContract({ open: () => provider })) await test(name, run);
