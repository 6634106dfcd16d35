import { defineProject } from 'vitest/config';
import { mutate } from './test/mutate.ts';

export default defineProject({ plugins: [mutate()] });
