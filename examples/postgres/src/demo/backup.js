// @ts-check
// Three replicas back the database up each second; one of them is killed in the middle of it.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { atLeast, exactly } from './verdict.js';

const program = new URL('../backup.js', import.meta.url);
const [ACCOUNTS, CUSTOMERS] = [1_500, 2_500];
/** As in the program. */
const KEEP = 5;

/** @param {import('./stage.js').Stage} stage */
export async function play({ ask, holdUp, start, tell, until }) {
  await ask(`CREATE TABLE account AS SELECT n AS id, 'iban ' || n AS iban FROM generate_series(1, ${ACCOUNTS}) n`);
  await ask(`CREATE TABLE customer AS SELECT n AS id, repeat('x', 100) AS note FROM generate_series(1, ${CUSTOMERS}) n`);
  const directory = mkdtempSync(join(tmpdir(), 'solorun-backup-'));
  try {
    return await backups();
  } finally {
    rmSync(directory, { recursive: true, maxRetries: 10 });
  }

  async function backups() {
    const env = { BACKUP_SCHEDULE: '* * * * * *', BACKUP_DIRECTORY: directory };
    const replicas = ['replica-1', 'replica-2', 'replica-3'].map((name) => start(name, program, { env }));
    await Promise.all(replicas.map((replica) => replica.says(/^scheduled/)));
    const made = () => said(replicas, /^made (\S+)/);
    const goWell = async (/** @type {number} */ more) => {
      const enough = made().length + more;
      await until(`${enough} backups are made`, () => made().length >= enough);
    };
    await goWell(3);

    const middle = await holdUp('LOCK TABLE customer IN ACCESS EXCLUSIVE MODE');
    const [runner] = await until('a backup is held up in its middle', async () => {
      const names = await middle.blocked();
      return names.length > 0 && names;
    });
    await until('another replica stands by for it', async () => {
      return (await ask("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")).length > 0;
    });
    const killed = replicas.find(({ name }) => name === runner);
    if (killed === undefined) throw new Error(`Who is ${runner}?`);
    const unfinished = said([killed], /^backing up (\S+),/).at(-1);
    tell(`✗ ${killed.name} is killed (SIGKILL) in the middle of a backup.`);
    await killed.kill();
    const others = await until('another replica comes to the same point', async () => {
      const names = (await middle.blocked()).filter((name) => name !== runner);
      return names.length > 0 && names;
    });
    await middle.release();
    await goWell(KEEP + 1);
    await Promise.all(replicas.filter((replica) => replica !== killed).map((replica) => replica.stop()));

    const files = readdirSync(directory).sort();
    const names = made();
    return [
      atLeast('backups made', names.length, 3 + 1 + KEEP),
      exactly('ticks that were backed up a second time', names.length - new Set(names).size, 0),
      exactly('backups at once', others.length, 1),
      exactly('backups of a dead replica that another one made', names.filter((name) => name === unfinished).length, 1),
      exactly('backups kept', files.filter((file) => file.endsWith('.jsonl')).length, KEEP),
      exactly('backups that do not read back', files.filter((file) => !isWhole(join(directory, file))).length, 0),
    ];
  }
}

/** What stands in the parentheses, in all that they have said. @param {readonly import('./stage.js').Actor[]} actors @param {RegExp} pattern */
function said(actors, pattern) {
  return actors.flatMap(({ lines }) => lines.flatMap((line) => pattern.exec(line)?.[1] ?? []));
}

/** @param {string} file */
function isWhole(file) {
  const rows = readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  const count = (/** @type {string} */ table) => new Set(rows.filter((row) => row.table === table).map(({ row }) => row.id)).size;
  return rows.length === ACCOUNTS + CUSTOMERS && count('public.account') === ACCOUNTS && count('public.customer') === CUSTOMERS;
}
