import { describe, expect, it } from 'vitest';
import { Connector, wasSent } from '../../src/server/index.ts';

class Connection {
  readonly #end = new AbortController();
  isUsable = true;
  readonly number: number;

  constructor(number: number) {
    this.number = number;
  }

  get lost(): AbortSignal {
    return this.#end.signal;
  }

  lose(): void {
    this.#end.abort();
  }

  usable(): boolean {
    return this.isUsable;
  }
}

interface Stage {
  readonly connector: Connector<Connection>;
  readonly ended: number[];
  readonly opened: () => number;
}

function stage(open: (number: number) => Promise<void> = () => Promise.resolve()): Stage {
  let opened = 0;
  const ended: number[] = [];
  const connector = new Connector<Connection>(
    async () => {
      const connection = new Connection((opened += 1));
      await open(connection.number);
      return connection;
    },
    async ({ number }) => void ended.push(number),
  );
  return { connector, ended, opened: () => opened };
}

describe('a connector', () => {
  it('opens once for all who need it, and again after it was lost or is not usable', async () => {
    const { connector, opened } = stage();
    const [first, second] = await Promise.all([connector.get(), connector.get()]);
    expect([first.number, second.number, connector.current?.number, opened()]).toEqual([1, 1, 1, 1]);
    first.lose();
    expect(connector.current).toBeUndefined();
    const third = await connector.get();
    expect(third.number).toBe(2);
    third.isUsable = false;
    expect((await connector.get()).number).toBe(3);
  });

  it('fails all who wait for an opening that fails, and pauses before the next one', async () => {
    const { connector, opened } = stage((number) => (number === 1 ? Promise.reject(new Error('away')) : Promise.resolve()));
    const failed = await Promise.allSettled([connector.get(), connector.get()]);
    expect([...failed.map(({ status }) => status), opened()]).toEqual(['rejected', 'rejected', 1]);
    const begin = performance.now();
    expect((await connector.get()).number).toBe(2);
    expect(performance.now() - begin).toBeGreaterThan(30);
  });

  it('lets a caller give up, and goes on opening for the others', async () => {
    let go = (): void => {};
    const { connector } = stage(() => new Promise((resolve) => (go = resolve)));
    const controller = new AbortController();
    const [impatient, patient] = [connector.get(controller.signal), connector.get()];
    controller.abort(new Error('given up'));
    await expect(impatient).rejects.toThrow('given up');
    go();
    expect((await patient).number).toBe(1);
  });

  it('puts what was opened beside in the place of the open one', async () => {
    const { connector, ended } = stage();
    await connector.get();
    await connector.replace(new Connection(7));
    expect([connector.current?.number, (await connector.get()).number, ended]).toEqual([7, 7, []]);
  });

  it('ends what is open when it closes, and opens no more', async () => {
    const { connector, ended } = stage();
    await connector.get();
    await connector.close();
    expect(ended).toEqual([1]);
    await expect(connector.get()).rejects.toThrow('the provider is closed');
    await connector.replace(new Connection(7));
    expect(ended).toEqual([1, 7]);
  });

  it('ends what was being opened while it closed', async () => {
    let go = (): void => {};
    const { connector, ended } = stage(() => new Promise((resolve) => (go = resolve)));
    const waiting = connector.get();
    const closing = connector.close();
    go();
    await expect(waiting).rejects.toThrow('the provider is closed');
    await closing;
    expect(ended).toEqual([1]);
  });

  it('marks each of its errors as that of a question that was never sent', async () => {
    const { connector } = stage(() => Promise.reject(new Error('down')));
    const failure = async (): Promise<unknown> =>
      connector.get().then(
        () => undefined,
        (error: unknown) => error,
      );
    const errors = [await failure(), await failure()];
    // The third one pauses before it opens.
    const pausing = failure();
    await connector.close();
    errors.push(await pausing, await failure());
    for (const error of errors) {
      expect(error).toBeInstanceOf(Error);
      expect(wasSent(error)).toBe(false);
    }
  });
});
