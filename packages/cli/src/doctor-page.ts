import type { Finding, LockProvider } from '@solorun/core';

export type Reach = LockProvider['guarantees']['reach'];

export interface DoctorPage {
  /** As it may be shown; empty if it could not be opened. */
  readonly store: string;
  readonly reach: Reach;
  readonly findings: readonly Finding[];
  /** The table of guarantees; empty: it is not asked for, or not known. */
  readonly explanation: string;
}

const SIGNS: Readonly<Record<Finding['state'], string>> = {
  ok: 'ok    ',
  note: 'note  ',
  unsafe: 'UNSAFE',
  unreachable: 'FAILED',
};

const FINE_FOR: Readonly<Record<Reach, string>> = {
  fleet: 'Fine for a fleet.',
  host: 'Fine for one machine.',
  process: 'Fine for tests.',
};

const REACH: Readonly<Record<Reach, Finding>> = {
  fleet: { check: 'reach', state: 'ok', says: 'all machines that use this store are kept apart' },
  host: { check: 'reach', state: 'note', says: 'processes of this machine are kept apart; several machines need a database' },
  process: { check: 'reach', state: 'unsafe', says: 'two processes are not kept apart: this store is for tests' },
};

export function aboutReach(reach: Reach): Finding {
  return REACH[reach];
}

/** The plain thing first, then each finding, then the table of guarantees. */
export function page({ store, reach, findings, explanation }: DoctorPage): string {
  const width = Math.max(...findings.map(({ check }) => check.length));
  const lines = findings.map(({ check, state, says }) => `${SIGNS[state]}  ${check.padEnd(width)}  ${says}`);
  const shown = store === '' ? [] : [store];
  // The first line of an explanation is an answer, too.
  const [, ...table] = explanation.split('\n');
  return [answer(findings, reach), '', ...shown, ...lines, ...(table.length === 0 ? [] : ['', ...table])].join('\n');
}

/** Whether the store is fine, and the reason, in one line. */
function answer(findings: readonly Finding[], reach: Reach): string {
  const first = (wanted: Finding['state']): Finding | undefined => findings.find(({ state }) => state === wanted);
  const unsafe = first('unsafe');
  if (unsafe !== undefined) return `Not safe. ${sentence(unsafe)}`;
  const unreachable = first('unreachable');
  if (unreachable !== undefined) return `Not known. ${sentence(unreachable)}`;
  const { check: said, says } = aboutReach(reach);
  const notes = findings.filter(({ check, state }) => state === 'note' && check !== said).length;
  const mind = notes === 0 ? '' : ` Read the ${notes === 1 ? 'note' : `${notes} notes`} below.`;
  return `${FINE_FOR[reach]} ${upperFirst(says)}.${mind}`;
}

function sentence({ check, says }: Finding): string {
  return `${upperFirst(check)}: ${says}${says.endsWith('.') ? '' : '.'}`;
}

function upperFirst(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
