import { checkMs } from './checks.ts';
import type { Core } from './core.ts';
import { ClosedError, describeMs, messageOf, NotReadyError, SolorunError } from './errors.ts';
import type { Finding } from './finding.ts';
import { fullName } from './settle.ts';
import type { ReadyOptions, Solo } from './solo.ts';

/** A program says within 5 s of its start what is wrong. */
const TIMEOUT_MS = 4_000;
/** Is looked up where the provider has no checks of its own. */
const PROBE = 'solorun-ready';

/** @throws NotReadyError, ClosedError, OptionError */
export async function ready(core: Core, { timeoutMs = TIMEOUT_MS }: ReadyOptions): Promise<readonly Finding[]> {
  checkMs('timeoutMs', timeoutMs, 1);
  core.throwIfClosed();
  const { kind } = core.settings.provider;
  let findings: readonly Finding[];
  try {
    findings = await core.calls.bounded((signal) => examine(core, signal), {
      timeoutMs,
      signals: [core.closing.signal],
      timeoutError: () => new SolorunError('SOLORUN_NOT_READY', `no answer within ${describeMs(timeoutMs)}`),
    });
  } catch (error) {
    if (error instanceof ClosedError) throw error;
    const finding: Finding = { check: kind, state: 'unreachable', says: messageOf(error) };
    throw new NotReadyError(kind, finding, [finding], { cause: error });
  }
  const wrong = findings.find(({ state }) => state === 'unreachable') ?? findings.find(({ state }) => state === 'unsafe');
  if (wrong === undefined) return findings;
  throw new NotReadyError(kind, wrong, findings);
}

async function examine({ settings }: Core, signal: AbortSignal): Promise<readonly Finding[]> {
  const { provider, namespace } = settings;
  if (provider.examine !== undefined) return provider.examine(signal);
  await provider.inspect(fullName(namespace, PROBE), signal);
  return [{ check: provider.kind, state: 'ok', says: 'it answers' }];
}

/** Solos that `warnUnlessReady` has asked. */
const asked = new WeakSet<Solo>();

/**
 * Asks in the background whether a solo is ready, once for each solo, and reports it in a process warning (`SOLORUN_NOT_READY`) if it is
 * not. For adapters, whose jobs would else say so only at their first run, perhaps in the middle of the night.
 *
 * @example
 * warnUnlessReady(solo);
 */
export function warnUnlessReady(solo: Solo): void {
  if (asked.has(solo)) return;
  asked.add(solo);
  solo.ready().catch((error: unknown) => {
    // A program that ends at once has learned all that it needs.
    if (!solo.signal.aborted) process.emitWarning(messageOf(error), { code: 'SOLORUN_NOT_READY' });
  });
}
