// @ts-check
// Uploads for one group and for another, each in the middle of its work; then one that is frozen there for longer than its lease.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exactly } from './verdict.js';

const program = new URL('../upload.js', import.meta.url);
/** Several batches of the program's. */
const SIZE = 1_200;
const MIDDLE = 600;

/** @param {import('./stage.js').Stage} stage */
export async function play({ ask, holdUp, start, tell, until }) {
  await ask('CREATE TABLE member (group_name text, address text, PRIMARY KEY (group_name, address))');
  const directory = mkdtempSync(join(tmpdir(), 'solorun-upload-'));
  try {
    return await uploads();
  } finally {
    rmSync(directory, { recursive: true });
  }

  async function uploads() {
    tell('Two groups are uploaded, and held up in the middle of it.');
    let middle = await holdUp(
      `INSERT INTO member VALUES ${['press', 'staff'].map((group) => `('${group}', '${address('monday', MIDDLE)}')`).join()}`,
    );
    const press = upload('press', 'monday');
    const staff = upload('staff', 'monday');
    const together = await until('both are in the middle', async () => {
      const names = await middle.blocked();
      return names.length === 2 && names;
    });
    tell('Meanwhile somebody uploads a newer list for press.');
    const newer = upload('press', 'tuesday');
    await newer.says(/^(?:waiting|replacing)/);
    const interleaved = newer.lines.some((line) => line.startsWith('replacing'));
    await middle.release();
    const statuses = await Promise.all([press, staff, newer].map(({ ended }) => ended));
    const pressMixed = (await strangers('press', 'tuesday')) + (await strangers('staff', 'monday'));

    tell('Another group. Its upload is held up in the middle, and frozen there (SIGSTOP) for longer than its lease of 5 s.');
    middle = await holdUp(`INSERT INTO member VALUES ('board', '${address('monday', MIDDLE)}')`);
    const stale = upload('board', 'monday', true);
    await until('it is in the middle', async () => (await middle.blocked()).length === 1);
    stale.freeze();
    await middle.release();
    const heir = upload('board', 'tuesday');
    statuses.push(await heir.ended);
    tell('The newer list is there. The frozen upload wakes up (SIGCONT), and would go on.');
    stale.wake();
    const staleStatus = await stale.ended;
    return [
      exactly('uploads of different groups in their middle at once', together.length, 2),
      exactly('uploads of one group at once', interleaved ? 2 : 1, 1),
      exactly('addresses missing, or from another list, after it', pressMixed, 0),
      exactly('stale uploads that say they were done', staleStatus === 0 ? 1 : 0, 0),
      exactly('addresses missing, or of the stale list', await strangers('board', 'tuesday'), 0),
      exactly('uploads that were done', statuses.filter((status) => status === 0).length, 4),
    ];
  }

  /** @param {string} group @param {string} list */
  function upload(group, list, mayFail = false) {
    const file = join(directory, list);
    writeFileSync(file, Array.from({ length: SIZE }, (_, n) => `${address(list, n)}\n`).join(''));
    return start(`${group}-${list}`, program, { args: [group, file], mayFail });
  }

  /** How many members a group has that are not of this list, or has not that are. @param {string} group @param {string} list */
  async function strangers(group, list) {
    const members = (await ask('SELECT address FROM member WHERE group_name = $1', [group])).map((row) => String(row['address']));
    const of = members.filter((each) => each.startsWith(`${list}-`)).length;
    return members.length - of + (SIZE - of);
  }
}

/** @param {string} list @param {number} n */
function address(list, n) {
  return `${list}-${String(n).padStart(4, '0')}@example.org`;
}
