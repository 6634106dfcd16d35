/** In which directories the lock files lie. The files of one lock lie together, so one listing shows all of them. */
export interface Layout {
  /** Where the files of a lock lie. The key is that of one of its files, or begins like one: all up to the first dot counts. */
  folderOf(key: string): string;
  /** Every directory that may hold lock files. */
  folders(): string[];
  /** Makes the directory of this file, unless it is there. */
  make(key: string): void;
}

/** In a directory that is the user's, all lie beside the file that is locked. */
export function flatLayout(directory: string): Layout {
  return { folderOf: () => directory, folders: () => [directory], make: () => {} };
}
