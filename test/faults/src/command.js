// @ts-check
// What `solorun run` starts: small steps, written down in the journal of the worker that started it.
//   node command.js JOURNAL WORKER ID JOB_MS STEP_MS

import { setTimeout as sleep } from 'node:timers/promises';
import { now, openJournal } from './journal.js';

const [file = '', worker = '', id = '', jobMs = '', stepMs = ''] = process.argv.slice(2);
const { SOLORUN_NAME: name = '', SOLORUN_FENCE: fence = '', SOLORUN_ATTEMPT: attempt, SOLORUN_OCCURRENCE: at = '' } = process.env;
const { note } = openJournal(file, worker);
// Several commands of one worker write to its journal; its ids are known to the worker alone, so each run is one of its own.
const run = { id: `${id}.${process.pid}`, name };

note({ kind: 'begin', ...run, fence, at: Date.parse(at), attempt: Number(attempt) });
for (let left = Number(jobMs); left > 0; left -= Number(stepMs)) {
  await sleep(Math.min(left, Number(stepMs)));
  note({ kind: 'step', t: now(), ...run, trusted: true });
}
note({ kind: 'end', ...run });
