export { type RedisClient, type RedisOptions } from './options.ts';
export { redis } from './provider.ts';
