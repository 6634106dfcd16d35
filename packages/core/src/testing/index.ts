import { attemptCases } from './attempt-cases.ts';
import { exclusionCases } from './exclusion-cases.ts';
import { failoverCases } from './failover-cases.ts';
import { fenceCases } from './fence-cases.ts';
import { givingUpCases } from './giving-up-cases.ts';
import type { ContractCase, ContractOptions } from './harness.ts';
import { historyCases } from './history-cases.ts';
import { lossCases } from './loss-cases.ts';
import { occurrenceCases } from './occurrence-cases.ts';
import { ownershipCases } from './ownership-cases.ts';
import { pauseCases } from './pause-cases.ts';
import { readingCases } from './reading-cases.ts';
import { recordCases } from './record-cases.ts';
import { retentionCases } from './retention-cases.ts';

export type { ContractCase, ContractOptions } from './harness.ts';

/**
 * The contract of `LockProvider` as cases for any test runner: what one process can show of every guarantee, and that the provider
 * can do what it declares and nothing that it does not.
 *
 * @example
 * for (const { name, run } of providerContract({ open: () => lockfile({ directory }) })) it(name, run);
 */
export function providerContract(options: ContractOptions): ContractCase[] {
  const guarantees = [
    exclusionCases,
    lossCases,
    fenceCases,
    occurrenceCases,
    attemptCases,
    recordCases,
    historyCases,
    pauseCases,
    retentionCases,
    failoverCases,
    ownershipCases,
    givingUpCases,
    readingCases,
  ];
  return guarantees.flatMap((casesOf) => casesOf(options));
}
