/** One thing that a provider has checked, and its meaning for locks. `solorun doctor` prints it. */
export interface Finding {
  /** The thing, in a word or two: `role`, `memory`, `host 10.0.0.7:5432`. */
  readonly check: string;
  /** `note`: worth knowing. `unsafe`: locks there are not to be trusted. `unreachable`: there was no answer, so nothing is known. */
  readonly state: 'ok' | 'note' | 'unsafe' | 'unreachable';
  /** A sentence, with the remedy where there is one. It may quote what a server said: make it safe before a terminal shows it. */
  readonly says: string;
}
