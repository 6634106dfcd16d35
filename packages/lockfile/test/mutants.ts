export interface Mutant {
  readonly says: string;
  readonly edits: readonly (readonly [find: string, replace: string])[];
}

const noSecondLook: Mutant['edits'][number] = [
  'if (after.at(-1) !== generation) return false;',
  'return true; if (after.at(-1) !== generation) return false;',
];
const noLookForChange: Mutant['edits'][number] = [
  'return again?.body === top.file.body && again.modifiedAt === top.file.modifiedAt;',
  'return again !== undefined;',
];

/** Ways to get the algorithm of generations.ts wrong, each of which somebody might hold to be a simplification. */
export const mutants: Readonly<Record<string, Mutant>> = {
  'no-second-look': {
    says: 'trusts the exclusive creation alone',
    edits: [noSecondLook],
  },
  'release-by-deletion': {
    says: 'deletes the highest file instead of writing it as released',
    edits: [
      [
        'if (!(await store.write(generationKey(key, grant.fence), body, care))) return false;',
        'await store.remove(generationKey(key, grant.fence));',
      ],
    ],
  },
  'reads-before-now': {
    says: "asks the store's clock after reading the file, and does not look whether the file changed",
    edits: [
      ['signal.throwIfAborted();\n      const now = await store.now();', 'signal.throwIfAborted();'],
      [
        'const top = await readTop(key, guess === undefined ? await generations(key) : [guess.generation], now, guess);',
        'const known = guess === undefined ? await generations(key) : [guess.generation]; const early = known.at(-1) === undefined ? undefined : await store.read(generationKey(key, known.at(-1)!)); const now = await store.now(); const top = await readTop(key, known, now, guess, early);',
      ],
      [
        'async function readTop(key: string, known: readonly bigint[], now: number, guess?: Free)',
        'async function readTop(key: string, known: readonly bigint[], now: number, guess?: Free, early?: StoredFile)',
      ],
      [
        'const file = await store.read(generationKey(key, generation));',
        'const file = early ?? (await store.read(generationKey(key, generation)));',
      ],
      noLookForChange,
    ],
  },
  'not-exclusive': {
    says: 'goes on although the next generation exists',
    edits: [['if (!created) return undefined;', 'created = true;']],
  },
  'no-allowance': {
    says: 'takes a modification time that was rounded down for the moment of the write',
    edits: [['modifiedAt + leaseMs + store.granularityMs;', 'modifiedAt + leaseMs;']],
  },
  'claim-dropped': {
    says: 'does not carry the claimed occurrence into the new generation',
    edits: [
      [
        "occurrence: occurrence === undefined ? before?.occurrence : { at: occurrence.at, state: 'claimed', attempt },",
        'occurrence: attempt > 0 ? before?.occurrence : undefined,',
      ],
    ],
  },
  'renews-whatever-stands-above': {
    says: 'counts a renewal without looking for a higher generation, past its own deadline',
    edits: [['(await generations(key)).at(-1) === grant.fence;\n    if (renewed)', 'String(key) !== "";\n    if (renewed)']],
  },
  'renews-what-is-over': {
    says: 'renews a lease whose time is over, if nobody has followed',
    edits: [['!isSpent(file, record, written.at, await store.now()) &&', '']],
  },
  'withdraws-unseen': {
    says: 'takes back what it has failed to create without looking whose it is',
    edits: [['(await store.read(own))?.body !== body', 'body.length === 0']],
  },
  'removes-when-unsure': {
    says: 'removes what it has failed to create, though that may be the highest',
    edits: [['after !== undefined && after.at(-1) !== fence', 'after?.at(-1) !== fence']],
  },
  'forgets-history-on-takeover': {
    says: 'starts the record anew when the holder is dead',
    edits: [
      [
        'const record = nextRecord(request, top?.record, attempt, now);',
        'const record = nextRecord(request, undefined, attempt, now);',
      ],
      [
        'judgeOccurrence(top?.record?.occurrence,',
        'judgeOccurrence(top?.expiresAt === undefined ? top?.record?.occurrence : undefined,',
      ],
    ],
  },
  'loose-occurrence': {
    says: 'writes in place also what carries an occurrence',
    edits: [["return record.occurrence === undefined ? 'loose' : 'whole';", "return 'loose';"]],
  },
  'dead-without-the-lock': {
    says: 'holds every holder on this machine for dead',
    edits: [['isKnownDead(record.proof, file, store.proof)', 'record.proof.bootId === store.proof.bootId']],
  },
};
