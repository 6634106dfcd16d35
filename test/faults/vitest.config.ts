import { defineConfig } from 'vitest/config';

// Each round is some processes that wait most of the time.
export default defineConfig({ test: { maxConcurrency: 2 } });
