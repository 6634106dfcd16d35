export { type RedisClient } from './client.ts';
export { redis, type RedisOptions } from './lease.ts';
