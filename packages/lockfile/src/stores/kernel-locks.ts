import { createRequire } from 'node:module';

export interface KernelLocks {
  /** On Linux an OFD lock: belongs to the open file, not to the process, and ends with it. */
  tryLock(fd: number, options?: { shared?: boolean }): boolean;
}

/** The addon is prebuilt and has no install script, but not for every platform. Without it the process table shows deaths. */
export function loadKernelLocks(): KernelLocks | undefined {
  try {
    return createRequire(import.meta.url)('fs-native-extensions') as KernelLocks;
  } catch (error) {
    process.emitWarning(`No kernel locks here, crashes are noticed by the process table or by expiry: ${String(error)}`, {
      code: 'SOLORUN_NO_KERNEL_LOCKS',
    });
    return undefined;
  }
}

/**
 * Whether no process holds the lock of a file; undefined if that cannot be known. By a shared lock, so that two readers at once do not
 * take each other for the holder. A file system without locks answers in many ways (ENOLCK, EOPNOTSUPP, ENOSYS, some of them
 * without a name in Node), and every one of them means that it cannot be known. A file that is not open, or no answer of the kernel at
 * all, means a fault of this program.
 */
export function isUnlocked(locks: KernelLocks, fd: number): boolean | undefined {
  try {
    return locks.tryLock(fd, { shared: true });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined || code === 'EBADF') throw error;
    return undefined;
  }
}
