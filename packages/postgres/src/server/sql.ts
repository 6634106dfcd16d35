/** A change that must survive a crash does, whatever the default of the role. */
export const FLUSH = `CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END`;

/** The same, unless the parameter `$2` says that nothing in this statement must survive a crash. */
export const FLUSH_UNLESS_2: string = `CASE WHEN $2 THEN set_config('synchronous_commit', 'off', true) ELSE ${FLUSH} END`;

/** Exact, as `extra_float_digits` may be set to anything. */
export const ms = (column: string): string => `round((extract(epoch FROM ${column}) * 1000)::numeric, 3)`;
