// @ts-check
// Starts everything there is, says where, and is then killed, or ends without having stopped anything.

import { networkNamespace, networkNamespaceMissing } from '@solorun/servers/network';
import { pgbouncerMissing, startPgbouncer } from '@solorun/servers/pgbouncer';
import { startPostgres } from '@solorun/servers/postgres';

const postgres = await startPostgres();
await postgres.standby();
if (pgbouncerMissing() === undefined) await startPgbouncer({ postgres, mode: 'session' });
const namespace = networkNamespaceMissing() === undefined ? networkNamespace().command.at(-1) : undefined;
const frozen = process.argv[2] === 'frozen';
if (frozen) postgres.freeze({ sessions: true });
process.stdout.write(`${JSON.stringify({ directory: postgres.directory, namespace })}\n`);
if (process.argv[2] !== 'exit') setInterval(() => {}, 60_000);
