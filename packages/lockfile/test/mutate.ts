import type { Plugin } from 'vite';
import { mutants } from './mutants.ts';

/**
 * Breaks a source on purpose: `import('../src/generations.ts?mutant=<name>')` loads it, and what it imports, with the replacements of
 * that mutant. Each must match exactly once, so that a mutant cannot quietly turn into the original.
 */
export function mutate(): Plugin {
  return {
    name: 'mutate',
    enforce: 'pre',
    transform(code, id) {
      const [, file, name] = /([\w-]+\.ts)\?mutant=([\w-]+)/.exec(id) ?? [];
      if (name === undefined) return undefined;
      const mutant = mutants[name];
      if (mutant === undefined) throw new Error(`there is no mutant ${name}`);
      const broken = mutant.edits.reduce((text, { file: place, find, replace }) => {
        if (place !== file) return text;
        const parts = text.split(find);
        if (parts.length !== 2) throw new Error(`mutant ${name}: ${parts.length - 1} matches instead of 1 for: ${find}`);
        return parts.join(replace);
      }, code);
      return broken.replaceAll(/(from '\.\/[\w-]+\.ts)'/g, `$1?mutant=${name}'`);
    },
  };
}
