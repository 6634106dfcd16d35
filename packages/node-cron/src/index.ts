export type { CatchUpPolicy } from './catch-up.ts';
export { soloCoordinator, type CoordinatorOptions, type SoloCoordinator } from './coordinator.ts';
export { schedule, type ScheduleContext, type ScheduleHandler, type ScheduleOptions } from './schedule.ts';
