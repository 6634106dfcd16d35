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
  'const { key, way, top, passes } = candidate;',
  'const { key, way, top, passes } = candidate; if (key.length > 0) return true;',
);
const noLookForChange = edit(
  'top.ts',
  'return again?.body === file.body && (expiresAt === undefined || again.modifiedAt === file.modifiedAt);',
  'return again !== undefined || file === undefined || expiresAt === 0;',
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
        'holdings.ts',
        'if (!(await this.#store.write(generationKey(key, grant.fence), body, care))) return false;',
        'await this.#store.remove(generationKey(key, grant.fence));',
      ),
    ],
  },
  'reads-before-now': {
    says: "asks the store's clock after reading the file, and does not look whether the file changed",
    edits: [
      edit('generations.ts', 'import type { Standing }', 'import { generationKey, type Standing }'),
      edit('generations.ts', 'const now = await this.#store.now();\n      const standing = guess', 'const standing = guess'),
      edit(
        'generations.ts',
        'const top = await this.#tops.read(key, standing.generations, now, guess);',
        'const known = standing.generations; const early = known.at(-1) === undefined ? undefined : await this.#store.read(generationKey(key, known.at(-1)!)); const now = await this.#store.now(); const top = await this.#tops.read(key, known, now, guess, early);',
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
    edits: [edit('succession.ts', 'if (created === false) return undefined;', 'created = true;')],
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
      edit('holdings.ts', '(await this.#tops.isTop(key, grant.fence));\n    if (renewed)', 'String(key) !== "";\n    if (renewed)'),
    ],
  },
  'renews-what-is-over': {
    says: 'renews a lease whose time is over, if nobody has followed',
    edits: [edit('holdings.ts', '!this.#deadlines.isSpent(file, record, written.at, await this.#store.now()) &&', '')],
  },
  'withdraws-unseen': {
    says: 'takes back what it has failed to create without looking whose it is',
    edits: [edit('succession.ts', '(await this.#store.read(own))?.body !== grant.body', 'grant.body.length === 0')],
  },
  'removes-when-unsure': {
    says: 'removes what it has failed to create, though that may be the highest',
    edits: [
      edit(
        'succession.ts',
        'const standing = after ?? (await this.#tops.standing(key)).generations;',
        'if (after === undefined) return this.#store.remove(own); const standing = after;',
      ),
    ],
  },
  'forgets-history-on-takeover': {
    says: 'starts the record anew when the holder is dead',
    edits: [
      edit(
        'generations.ts',
        'const before = held ? undefined : carriedBy(top);',
        'const before = held || top?.expiresAt !== undefined ? undefined : carriedBy(top);',
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
  'follows-a-broken-row': {
    says: 'follows the highest file although the one below it is gone',
    edits: [
      edit('ways.ts', 'start === undefined && generations.includes(top.base)', 'start === undefined'),
      edit('succession.ts', 'return after.includes(top!.base) ||', 'return true ||'),
    ],
  },
  'forgets-without-closing': {
    says: 'removes the files of a lock without closing it before',
    edits: [
      edit(
        'edits.ts',
        '!(await this.#end(key, edit, closedRecord(edit.record), false))',
        'closedRecord(edit.record).closed !== true',
      ),
    ],
  },
  'forgets-without-floor': {
    says: 'forgets a lock without raising the floor to its highest number',
    edits: [
      edit('edits.ts', 'await floor.atLeast(edit.fence);', 'floor.seen;'),
      edit(
        'ways.ts',
        'const least = isNew ? (top?.generation ?? 0n) : (start ?? top.base);',
        'const least = isNew ? 0n : (start ?? top.base);',
      ),
    ],
  },
  'no-look-at-the-base': {
    says: 'does not look, once it has created the next file, whether the one below the highest still stands',
    edits: [edit('succession.ts', 'return after.includes(top!.base) ||', 'return true ||')],
  },
  'no-second-look-at-the-floor': {
    says: 'starts anew by a floor that may have been raised',
    edits: [edit('succession.ts', '(await this.#floor.now()) === floor', '(await this.#floor.now()) !== undefined')],
  },
  'starts-beside-others': {
    says: 'starts anew beside a file that it has not seen',
    edits: [edit('succession.ts', 'seen.includes(each)) &&', 'each <= grant.fence) &&')],
  },
  'follows-what-is-unproven': {
    says: 'follows the first file of a row before a holder has proven the row, whatever the floor is',
    edits: [edit('ways.ts', '!isNew && start === undefined && generations', '!isNew && generations')],
  },
  'no-second-look-at-pauses': {
    says: 'does not look for a pause once it has created the next file',
    edits: [edit('succession.ts', 'pauses.length > 0 &&', 'pauses.length < 0 &&')],
  },
  'sweeps-what-is-new': {
    says: 'keeps all pauses of a lock in one file',
    edits: [
      edit(
        'key.ts',
        'return `${key}.${checked(key, pause)}.paused`;',
        'return `${key}.${checked(key, pause) > 0n ? 1 : 0}.paused`;',
      ),
    ],
  },
};
