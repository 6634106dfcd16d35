import type { ContractCase, ContractOptions } from './harness.ts';
import { leaseCases } from './lease-cases.ts';
import { occurrenceCases } from './occurrence-cases.ts';
import { readingCases } from './reading-cases.ts';

export type { ContractCase, ContractOptions } from './harness.ts';

/**
 * The contract of `LockProvider` as cases for any test runner: what one process can show of every guarantee, and that the provider
 * can do what it declares and nothing that it does not.
 *
 * @example
 * for (const { name, run } of providerContract({ open: () => lockfile({ directory }) })) it(name, run);
 */
export function providerContract(options: ContractOptions): ContractCase[] {
  return [...leaseCases(options), ...occurrenceCases(options), ...readingCases(options)];
}
