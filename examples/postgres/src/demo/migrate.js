// @ts-check
// Five replicas of a new release start together; the one that migrates is killed in the middle of a migration.

import { atLeast, exactly } from './verdict.js';

const program = new URL('../migrate.js', import.meta.url);
const CUSTOMERS = 100;

/** @param {import('./stage.js').Stage} stage */
export async function play({ ask, holdUp, start, tell, until }) {
  await ask('CREATE TABLE customer (id serial PRIMARY KEY, balance_euros numeric NOT NULL)');
  await ask('INSERT INTO customer (balance_euros) SELECT 10 FROM generate_series(1, $1)', [CUSTOMERS]);

  tell('Somebody makes a long report on the customers. The second migration has to wait for it, half done.');
  const report = await holdUp('LOCK TABLE customer IN ACCESS SHARE MODE');
  const deploy = (/** @type {string} */ name) => start(name, program, { env: { PORT: '0' } });
  const apps = ['app-1', 'app-2', 'app-3', 'app-4', 'app-5'].map(deploy);
  tell('Five replicas of the new release start.');
  const [migrating] = await until('a migration is held up', async () => {
    const names = await report.blocked();
    return names.length > 0 && names;
  });
  const others = apps.filter(({ name }) => name !== migrating);
  await Promise.all(others.map((app) => app.says(/^(?:waiting|serving)/)));
  const tooEarly = serving(apps).length;

  const killed = apps.find(({ name }) => name === migrating);
  if (killed === undefined) throw new Error(`Who is ${migrating}?`);
  tell(`✗ ${killed.name} is killed (SIGKILL) in the middle of a migration, and started again.`);
  await killed.kill();
  const again = deploy(`${killed.name}-again`);
  await again.says(/^(?:waiting|serving)/);
  const all = [...others, again];
  // What it had sent still waits on the server, which has not noticed that nobody waits for the answer.
  const besides = all.filter(hasBegun).length;
  tell('The report is made.');
  await report.release();
  await Promise.all(all.map((app) => app.says(/^serving/)));

  const answers = await Promise.all(serving(all).map(async (port) => (await fetch(`http://127.0.0.1:${port}`)).json()));
  const right = JSON.stringify({ invoices: CUSTOMERS, cents: CUSTOMERS * 900 });
  const migrations = await ask('SELECT name, count(*)::int AS times FROM migration GROUP BY name');
  await Promise.all(all.map((app) => app.stop()));
  return [
    exactly('migrations applied', migrations.length, 3),
    exactly('of them more than once', migrations.filter(({ times }) => times !== 1).length, 0),
    exactly('replicas that served before', tooEarly, 0),
    exactly(
      'replicas that answer from the new schema, and rightly',
      answers.filter((each) => JSON.stringify(each) === right).length,
      5,
    ),
    exactly('replicas that began while a statement of the killed one still ran', besides, 0),
    atLeast('replicas that took over', all.filter(hasBegun).length, 1),
  ];
}

/** The ports on which they serve. @param {readonly import('./stage.js').Actor[]} apps */
function serving(apps) {
  return apps.flatMap(({ lines }) => lines.flatMap((line) => /^serving on port (\d+)/.exec(line)?.[1] ?? []));
}

/** @param {import('./stage.js').Actor} app */
function hasBegun({ lines }) {
  return lines.some((line) => line.startsWith('applying'));
}
