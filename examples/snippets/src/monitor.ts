import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { logEvents, pingUrl } from '@solorun/core';
import { solo } from './solo.ts';

const monitor = createServer((request, response) => response.end(request.url)).listen(0, '127.0.0.1');
await new Promise<void>((resolve) => monitor.once('listening', resolve));
process.env['BACKUP_PING_URL'] = `http://127.0.0.1:${(monitor.address() as AddressInfo).port}/backup`;
const backup = (): void => {};

await solo.run('backup', backup, { onRun: pingUrl(process.env['BACKUP_PING_URL']) });

const stop = logEvents(solo, console, { level: 'info' });

stop();
monitor.closeAllConnections();
monitor.close();
