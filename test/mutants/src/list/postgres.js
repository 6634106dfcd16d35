// @ts-check

/** @import { Mutant } from '../mutant.js' */

/** @param {string} file @param {string} test */
const by = (file, test) => ({ project: 'postgres', file: `test/${file}.test.ts`, test });
/** @param {string} test */
const ofLeases = (test) => by('contract', `on Postgres 18 postgresLease with a connection of its own ${test}`);
/** @param {string} test */
const ofLocks = (test) => by('contract', `on Postgres 18 postgresAdvisory ${test}`);

/** @type {readonly Mutant[]} */
export const postgres = [
  {
    name: 'renews a lease row whose time is over',
    package: 'postgres',
    file: 'src/rows/statements.ts',
    from: 'AND j.held AND (j.expires_at IS NULL OR j.expires_at > clock_timestamp())\n    RETURNING a.ord',
    to: 'AND j.held\n    RETURNING a.ord',
    caughtBy: ofLeases('G2: does not renew a lease whose time is over'),
  },
  {
    name: 'ends a lease row whoever holds it',
    package: 'postgres',
    file: 'src/rows/statements.ts',
    from: "WHERE j.kind = 'lease' AND j.name = $1 AND j.owner = $2 AND j.held\n",
    to: "WHERE j.kind = 'lease' AND j.name = $1 AND $2::text <> '' AND j.held\n",
    caughtBy: ofLeases('G6: does not release for somebody else'),
  },
  {
    name: 'takes a lease row without looking whether it is free',
    package: 'postgres',
    file: 'src/rows/statements.ts',
    from: "k.name = $1 AND ${freeSql('k')} FOR UPDATE SKIP LOCKED",
    to: 'k.name = $1 FOR UPDATE SKIP LOCKED',
    caughtBy: ofLeases('G1: refuses a held name as a value'),
  },
  {
    name: 'runs an occurrence again that is done',
    package: 'postgres',
    file: 'src/server/statements.ts',
    from: "OR (m.at = j.occurrence_at AND j.occurrence_state <> 'done' AND j.attempt < m.attempts))",
    to: 'OR (m.at = j.occurrence_at AND j.attempt < m.attempts))',
    caughtBy: ofLeases('G4: runs an occurrence once: a late replica finds it done'),
  },
  {
    name: 'starts an attempt more than was allowed',
    package: 'postgres',
    file: 'src/server/statements.ts',
    from: 'j.attempt < m.attempts))',
    to: 'j.attempt <= m.attempts))',
    caughtBy: ofLocks('G4: gives a failed occurrence another attempt while one is left'),
  },
  {
    name: 'does not undo the claim of a run that was never started',
    package: 'postgres',
    file: 'src/server/statements.ts',
    from: 'occurrence_at = CASE WHEN j.claimed AND ${undone} THEN j.previous_at ELSE j.occurrence_at END,',
    to: 'occurrence_at = j.occurrence_at,',
    caughtBy: ofLeases('G4: undoes the claim of a run that never started'),
  },
  {
    name: 'goes on with the fence of the sequence though the row has a greater one',
    package: 'postgres',
    file: 'src/advisory/statements.ts',
    from: 'fence = greatest(m.fence, j.fence + 1), owner',
    to: 'fence = m.fence, owner',
    caughtBy: by('records', 'go on above a row that was restored under an open session'),
  },
  {
    name: 'begins its fences anew in a schema that was dropped',
    package: 'postgres',
    file: 'src/rows/statements.ts',
    from: 'coalesce(t.floor, 0) + 1 AS fence',
    to: '1::bigint AS fence',
    caughtBy: by('recovery', 'postgresLease makes the schema anew that was dropped under it, and its fences go on'),
  },
  {
    name: 'waits for a row that another transaction has locked, and all other leases with it',
    package: 'postgres',
    file: 'src/rows/statements.ts',
    from: "WHERE j.kind = 'lease' AND j.owner = a.owner ORDER BY j.name FOR NO KEY UPDATE OF j SKIP LOCKED",
    to: "WHERE j.kind = 'lease' AND j.owner = a.owner ORDER BY j.name FOR NO KEY UPDATE OF j",
    caughtBy: by('row-locked', 'costs no other lease of the process, and the holder is told why it cannot renew'),
  },
  {
    name: 'writes an old record over a newer one',
    package: 'postgres',
    file: 'src/advisory/statements.ts',
    from: 'AND (j.fence < a.fence OR (j.fence = a.fence AND j.held))',
    to: 'AND j.fence <= a.fence',
    caughtBy: by('records', 'an operator who released a lock is not undone by what is written late'),
  },
  {
    name: 'takes over while a transaction that the last holder guarded is under way (rows)',
    package: 'postgres',
    file: 'src/rows/statements.ts',
    from: "AND ${freeSql('k')} FOR UPDATE SKIP LOCKED)",
    to: "AND ${freeSql('k')} FOR NO KEY UPDATE SKIP LOCKED)",
    caughtBy: by('guard', 'postgresLease keeps a successor out until it has committed'),
  },
  {
    name: 'takes over while a transaction that the last holder guarded is under way (session locks)',
    package: 'postgres',
    file: 'src/advisory/lock-statements.ts',
    from: 'THEN CASE WHEN pg_try_advisory_xact_lock(${guard}) THEN nextval',
    to: 'THEN CASE WHEN ${guard} IS NOT NULL THEN nextval',
    caughtBy: by('guard', 'postgresAdvisory keeps a successor out until it has committed'),
  },
  {
    name: 'guards a transaction without locking the row',
    package: 'postgres',
    file: 'src/server/guard.ts',
    from: 'AND j.owner = $1 AND j.held FOR KEY SHARE`,',
    to: 'AND j.owner = $1 AND j.held`,',
    caughtBy: by('guard', 'postgresLease keeps a successor out until it has committed'),
  },
  {
    name: 'guards a transaction whoever holds the row',
    package: 'postgres',
    file: 'src/server/guard.ts',
    from: 'AND j.owner = $1 AND j.held FOR KEY SHARE`,',
    to: 'AND j.held FOR KEY SHARE`,',
    caughtBy: by('guard', 'a transaction guarded by postgresLease'),
  },
  {
    name: 'guards a transaction without the lock that keeps acquisitions out',
    package: 'postgres',
    file: 'src/server/guard.ts',
    from: "first: 'SELECT pg_advisory_xact_lock_shared($3::bigint)::text',",
    to: "first: 'SELECT $3::bigint::text',",
    caughtBy: by('guard', 'postgresAdvisory keeps a successor out until it has committed'),
  },
  {
    name: 'grants at once after a crash of the server',
    package: 'postgres',
    file: 'src/advisory/settling.ts',
    from: 'Math.max(0, (this.#settleMs ?? leaseMs ?? UNBOUNDED_MS) - ageMs - (this.#now() - at));',
    to: 'Math.max(0, (this.#settleMs ?? leaseMs ?? 0) - Number.POSITIVE_INFINITY);',
    caughtBy: by('settling', 'grants nothing for the length of the lease, also to processes that are not the first to ask'),
  },
  {
    name: 'lets a waiter have from the queue what nobody may be granted yet',
    package: 'postgres',
    file: 'src/advisory/queue.ts',
    from: 'if (settlesInMs > 0) await delay(settlesInMs, signal);',
    to: '',
    caughtBy: by('settling', 'lets waiters have nothing sooner'),
  },
  {
    name: 'believes a server that says it is older than it can be',
    package: 'postgres',
    file: 'src/advisory/settling.ts',
    from: 'const mostMs = cause.life === id ? at - otherHeardAt : Number.POSITIVE_INFINITY;',
    to: 'const mostMs = Number.POSITIVE_INFINITY;',
    caughtBy: by('settling', 'is no greater than the time since another life was heard of'),
  },
  {
    name: 'keeps what was granted after its caller had gone (on Postgres)',
    package: 'core',
    file: 'src/server/questions.ts',
    from: 'if (isGrant(answer)) this.takeBack(name, owner);',
    to: "if (isGrant(answer) && owner === '') this.takeBack(name, owner);",
    caughtBy: by('trouble', 'postgresLease keeps nothing of a try whose caller goes away at whatever moment'),
  },
  {
    name: 'goes on with a session that answers from another backend',
    package: 'postgres',
    file: 'src/advisory/heartbeat.ts',
    from: "} else if (Number(row?.['pid']) !== session.pid) {",
    to: "} else if (row?.['pid'] === '') {",
    caughtBy: by('lock-session', 'a heartbeat'),
  },
];
