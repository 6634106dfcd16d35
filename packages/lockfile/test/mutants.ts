export interface Mutant {
  readonly says: string;
  readonly edits: readonly (readonly [find: string, replace: string])[];
}

const noSecondLook: Mutant['edits'][number] = [
  'const after = await generations(key);',
  'return true; const after = await generations(key);',
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
        'return store.write(generationKey(key, grant.fence), released, durable(record.occurrence !== undefined));',
        'await store.remove(generationKey(key, grant.fence)); return released !== undefined && durable !== undefined;',
      ],
    ],
  },
  'reads-before-now': {
    says: "asks the store's clock after reading the file, and does not look whether the file changed",
    edits: [
      ['const now = await store.now();\n      const known = await generations(key);', 'const known = await generations(key);'],
      [
        "const top = await readTop(key, known, now);\n      if (top === 'moved') continue;",
        "const early = known.at(-1) === undefined ? undefined : await store.read(generationKey(key, known.at(-1)!)); const now = await store.now(); const top = await readTop(key, known, now, early);\n      if (top === 'moved') continue;",
      ],
      [
        'async function readTop(key: string, known: readonly bigint[], now: number)',
        'async function readTop(key: string, known: readonly bigint[], now: number, early?: StoredFile)',
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
    edits: [
      [
        'if (!(await store.createExclusive(own, grant.body, durable(grant.record.occurrence !== undefined)))) return false;',
        'await store.createExclusive(own, grant.body, durable(grant.record.occurrence !== undefined));',
      ],
    ],
  },
  'no-allowance': {
    says: 'takes a modification time that was rounded down for the moment of the write',
    edits: [['file.modifiedAt + leaseMs + store.granularityMs', 'file.modifiedAt + leaseMs']],
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
    edits: [['(await generations(key)).at(-1) === grant.fence;\n    if', 'String(key) !== "";\n    if']],
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
  'dead-without-the-lock': {
    says: 'holds every holder on this machine for dead',
    edits: [['isKnownDead(record.proof, file, store.proof)', 'record.proof.bootId === store.proof.bootId']],
  },
};
