import { checkObject } from './checks.ts';
import { OptionError } from './errors.ts';
import { checkKnown, ofSentry } from './known-options.ts';
import type { RunHook, StartedRun } from './run-hooks.ts';

/**
 * The part of Sentry's SDK that is used (`@sentry/node` and its relatives, 7.51 or later):
 * https://docs.sentry.io/platforms/javascript/guides/node/crons/. `Config` is its `MonitorConfig`.
 */
export interface SentryCheckIns<Config> {
  captureCheckIn(
    checkIn:
      | { readonly monitorSlug: string; readonly status: 'in_progress' }
      | { readonly monitorSlug: string; readonly status: 'ok' | 'error'; readonly checkInId: string; readonly duration: number },
    upsertMonitorConfig?: Config,
  ): string;
}

export interface SentryMonitorOptions<Config> {
  /** Of the monitor in Sentry; a function for a hook of all runs of a solo. */
  readonly slug: string | ((run: StartedRun) => string);
  /** Has Sentry create the monitor, or bring it up to date, at each start. @default none: it exists */
  readonly config?: Config | undefined;
}

/**
 * A hook that reports runs as check-ins of a cron monitor of Sentry: `in_progress` when the handler starts, `ok` or `error` when the run
 * is over, with its duration. Sentry then alerts when a run is missed, fails or takes too long.
 *
 * Sentry's own `withMonitor()`, and its instrumentation of cron libraries, stand outside of the lock: they report each replica that
 * skipped as a success. A program that ends after a run calls `Sentry.flush()` first, as for all that it reports.
 *
 * @throws OptionError
 * @example
 * await solo.run('backup', backup, { onRun: sentryMonitor(Sentry, { slug: 'backup' }) });
 */
export function sentryMonitor<Config>(sentry: SentryCheckIns<Config>, options: SentryMonitorOptions<Config>): RunHook {
  if (typeof sentry?.captureCheckIn !== 'function') {
    throw new OptionError(
      "sentryMonitor() needs Sentry's SDK, which has captureCheckIn(): import * as Sentry from '@sentry/node'.",
    );
  }
  checkObject('sentryMonitor()', options);
  checkKnown(ofSentry, options);
  const { slug, config } = options;
  if (typeof slug !== 'function' && (typeof slug !== 'string' || slug === '')) {
    throw new OptionError('sentryMonitor() needs the slug of a monitor, or a function that tells it: { slug: "backup" }.');
  }
  return (run) => {
    const monitorSlug = typeof slug === 'function' ? slug(run) : slug;
    const checkInId = sentry.captureCheckIn({ monitorSlug, status: 'in_progress' }, config);
    return ({ outcome, durationMs }) =>
      sentry.captureCheckIn({
        monitorSlug,
        status: outcome === 'done' ? 'ok' : 'error',
        checkInId,
        // Sentry counts seconds.
        duration: durationMs / 1_000,
      });
  };
}
