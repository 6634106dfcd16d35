import { Option } from 'commander';

export const verbs = [
  'run',
  'status',
  'check',
  'list',
  'inspect',
  'history',
  'pause',
  'resume',
  'rerun',
  'release',
  'prune',
  'doctor',
  'explain',
] as const;

export type Verb = (typeof verbs)[number];

interface Example {
  readonly says: string;
  readonly types: string;
}

/** The words of one command's page, beside its options. */
export interface Page {
  readonly about: string;
  readonly examples: readonly Example[];
}

/** One command, as --help and the man page show it. */
export interface CommandPage extends Page {
  readonly verb: Verb;
  readonly usage: string;
  /** Name and description, as commander takes them. */
  readonly argument?: readonly [string, string];
  readonly options: readonly Option[];
}

export const storeOption = (): Option =>
  new Option(
    '--store <url>',
    "where locks are kept: file:DIR, postgres://…, postgres+lease://…, redis://… or memory: (default: a directory of this user's). For a moment other users of this machine can read a password that stands here; in SOLORUN_STORE or PGPASSFILE they cannot",
  ).env('SOLORUN_STORE');

export const namespaceOption = (): Option =>
  new Option('--namespace <name>', 'a prefix of every name (namespace/name), for programs that share a store').env(
    'SOLORUN_NAMESPACE',
  );

export const prefixOption = (): Option => new Option('--prefix <text>', 'only names that begin with this text');

export const jsonOption = (): Option => new Option('--json', 'print JSON, for scripts');
