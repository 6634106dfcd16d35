export interface Mutant {
  readonly says: string;
  readonly edits: readonly Edit[];
}

interface Edit {
  /** In `src`. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

const edit = (file: string, find: string, replace: string): Edit => ({ file, find, replace });

const noSecondLook = edit(
  'succession.ts',
  'if (after.at(-1) !== generation) return false;',
  'return true; if (after.at(-1) !== generation) return false;',
);
const noLookForChange = edit(
  'succession.ts',
  'return again?.body === top.file.body && again.modifiedAt === top.file.modifiedAt;',
  'return again !== undefined;',
);

/** Ways to get the algorithm of generations.ts wrong, each of which looks like a simplification. */
export const mutants: Readonly<Record<string, Mutant>> = {
  'no-second-look': {
    says: 'trusts the exclusive creation alone',
    edits: [noSecondLook],
  },
  'release-by-deletion': {
    says: 'deletes the highest file instead of writing it as released',
    edits: [
      edit(
        'generations.ts',
        'if (!(await this.#store.write(generationKey(key, grant.fence), body, care))) return false;',
        'await this.#store.remove(generationKey(key, grant.fence));',
      ),
    ],
  },
  'reads-before-now': {
    says: "asks the store's clock after reading the file, and does not look whether the file changed",
    edits: [
      edit('generations.ts', 'signal.throwIfAborted();\n      const now = await this.#store.now();', 'signal.throwIfAborted();'),
      edit(
        'generations.ts',
        'const top = await this.#tops.read(key, known, now, guess);',
        'const early = known.at(-1) === undefined ? undefined : await this.#store.read(generationKey(key, known.at(-1)!)); const now = await this.#store.now(); const top = await this.#tops.read(key, known, now, guess, early);',
      ),
      edit(
        'top.ts',
        'async read(key: string, known: readonly bigint[], now: number, guess?: Free)',
        'async read(key: string, known: readonly bigint[], now: number, guess?: Free, early?: StoredFile)',
      ),
      edit(
        'top.ts',
        'const file = await this.#store.read(generationKey(key, generation));',
        'const file = early ?? (await this.#store.read(generationKey(key, generation)));',
      ),
      noLookForChange,
    ],
  },
  'not-exclusive': {
    says: 'goes on although the next generation exists',
    edits: [edit('succession.ts', 'if (!created) return undefined;', 'created = true;')],
  },
  'no-allowance': {
    says: 'takes a modification time that was rounded down for the moment of the write',
    edits: [edit('deadlines.ts', 'modifiedAt + leaseMs + this.#store.granularityMs;', 'modifiedAt + leaseMs;')],
  },
  'claim-dropped': {
    says: 'does not carry the claimed occurrence into the new generation',
    edits: [
      edit(
        'transitions.ts',
        "occurrence: occurrence === undefined ? before?.occurrence : { at: occurrence.at, state: 'claimed', attempt },",
        'occurrence: attempt > 0 ? before?.occurrence : undefined,',
      ),
    ],
  },
  'renews-whatever-stands-above': {
    says: 'counts a renewal without looking for a higher generation, past its own deadline',
    edits: [
      edit(
        'generations.ts',
        '(await this.#tops.generations(key)).at(-1) === grant.fence;\n    if (renewed)',
        'String(key) !== "";\n    if (renewed)',
      ),
    ],
  },
  'renews-what-is-over': {
    says: 'renews a lease whose time is over, if nobody has followed',
    edits: [edit('generations.ts', '!this.#deadlines.isSpent(file, record, written.at, await this.#store.now()) &&', '')],
  },
  'withdraws-unseen': {
    says: 'takes back what it has failed to create without looking whose it is',
    edits: [edit('succession.ts', '(await this.#store.read(own))?.body !== body', 'body.length === 0')],
  },
  'removes-when-unsure': {
    says: 'removes what it has failed to create, though that may be the highest',
    edits: [edit('succession.ts', 'after !== undefined && after.at(-1) !== fence', 'after?.at(-1) !== fence')],
  },
  'forgets-history-on-takeover': {
    says: 'starts the record anew when the holder is dead',
    edits: [
      edit(
        'generations.ts',
        'const record = nextRecord(request, top?.record, attempt, now, this.#store.proof);',
        'const record = nextRecord(request, undefined, attempt, now, this.#store.proof);',
      ),
      edit(
        'generations.ts',
        'judgeOccurrence(top?.record?.occurrence,',
        'judgeOccurrence(top?.expiresAt === undefined ? top?.record?.occurrence : undefined,',
      ),
    ],
  },
  'loose-occurrence': {
    says: 'writes in place also what carries an occurrence',
    edits: [edit('care.ts', "return record.occurrence === undefined ? 'loose' : 'whole';", "return 'loose';")],
  },
  'dead-without-the-lock': {
    says: 'holds every holder on this machine for dead',
    edits: [
      edit('top.ts', 'isKnownDead(record.proof, file, this.#store.proof)', 'record.proof.bootId === this.#store.proof.bootId'),
    ],
  },
};
