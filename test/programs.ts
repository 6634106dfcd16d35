import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';

export interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program of Node's to its end, without a shell; fails with all that it said unless it exits with 0. */
export async function node(args: readonly string[], cwd: string): Promise<Ended> {
  return succeed(process.execPath, args, cwd);
}

/** The compiler of this repository, on a project elsewhere. */
export async function tsc(args: readonly string[], cwd: string): Promise<Ended> {
  const manifest = createRequire(import.meta.url).resolve('typescript/package.json');
  return node([join(dirname(manifest), 'bin/tsc'), ...args], cwd);
}

/** The npm that runs us, or the one on the path. */
export async function npm(args: readonly string[], cwd: string): Promise<Ended> {
  const cli = process.env['npm_execpath'];
  return cli !== undefined && basename(cli) === 'npm-cli.js' && existsSync(cli)
    ? node([cli, ...args], cwd)
    : succeed('npm', args, cwd);
}

async function succeed(file: string, args: readonly string[], cwd: string): Promise<Ended> {
  const ended = await run(file, args, cwd);
  if (ended.status === 0) return ended;
  throw new Error(
    `${basename(file)} ${args.join(' ')} ended with ${ended.signal ?? ended.status}:\n${ended.stdout}${ended.stderr}`,
  );
}

function run(file: string, args: readonly string[], cwd: string): Promise<Ended> {
  // What `npm test` tells its children about this repository must not steer an npm that works elsewhere.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(npm_(package|lifecycle|command|config_(local_prefix|workspaces?$))|INIT_CWD|NODE_ENV|VITEST)/.test(name),
    ),
  );
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
    child.once('error', reject);
    child.once('close', (status, signal) => resolve({ status, signal, stdout, stderr }));
  });
}
