export { soloCoordinator, type CoordinatorOptions, type SoloCoordinator } from './coordinator.ts';
