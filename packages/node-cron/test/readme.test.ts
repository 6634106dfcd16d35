import { readFileSync } from 'node:fs';
import cron from 'node-cron';
import { expect, it } from 'vitest';
import { heard } from './fleet.ts';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');

it.each([
  { name: 'schedule', run: () => import('./snippets/schedule.ts') },
  { name: 'coordinator', run: () => import('./snippets/coordinator.ts') },
])('shows the snippet $name as it runs', async ({ name, run }) => {
  const source = readFileSync(new URL(`snippets/${name}.ts`, import.meta.url), 'utf8');
  expect(readme).toContain(source.replace('../../src/index.ts', '@solorun/node-cron'));
  await run();
  const [job] = cron.getTasks().values();
  if (job?.getStatus() === 'stopped') await heard(job, 'task:started');
  expect(job?.getStatus()).toBe('idle');
  // destroy() alone may time out: node-cron ends the process of a background task before it has said that it is destroyed.
  await job?.stop();
  await job?.destroy();
});
