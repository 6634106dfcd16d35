/** A table for eyes, and for grep and awk: no colours, no frame. Columns without a word in any row are left out if they may be. */
export async function tableOf(columns: readonly Column[], rows: readonly (readonly string[])[]): Promise<string> {
  const { default: Table } = await import('cli-table3');
  const frame = ['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right'];
  const inside = ['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid'];
  const chars = Object.fromEntries([...frame, ...inside].map((place) => [place, '']));
  const shown = columns.map(({ optional = false }, index) => !optional || rows.some((row) => row[index] !== ''));
  const only = (cells: readonly string[]): string[] => cells.filter((_, index) => shown[index]);
  const table = new Table({
    head: only(columns.map(({ head }) => head)),
    chars: { ...chars, middle: '  ' },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  });
  table.push(...rows.map(only));
  return table.toString().replaceAll(/ +$/gm, '');
}

export interface Column {
  readonly head: string;
  /** Left out where it is empty. @default false */
  readonly optional?: boolean;
}
