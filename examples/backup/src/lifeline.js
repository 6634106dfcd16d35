// @ts-check
// Imported before a replica: ends it when whoever started it is gone, however that ended.

process.stdin.on('end', () => process.exit()).resume();
