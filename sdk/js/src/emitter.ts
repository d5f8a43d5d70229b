// Listeners by event.

type Listener = (value: any) => unknown;

/** Has events; `E` names them and what comes with each. */
export class Emitter<E> {
  readonly #lists = new Map<keyof E, Set<[Listener]>>();

  /** Calls the listener for each event until the function that it returns is called. */
  on<K extends keyof E>(event: K, listener: (value: E[K]) => void): () => void {
    // A box of its own, so that a function may listen twice and leave once.
    const box: [Listener] = [listener];
    let list = this.#lists.get(event);
    if (!list) this.#lists.set(event, (list = new Set()));
    list.add(box);
    return () => void list.delete(box);
  }

  /** @internal */
  _listeners(event: keyof E): Listener[] {
    return Array.from(this.#lists.get(event) ?? [], ([listener]) => listener);
  }

  /**
   * Tells whether anybody listened. What a listener throws goes to the
   * runtime's handler of uncaught errors, and stops neither the others nor the client.
   * @internal
   */
  _emit<K extends keyof E>(event: K, value: E[K]): boolean {
    const list = this._listeners(event);
    for (const listener of list) {
      try {
        listener(value);
      } catch (error) {
        queueMicrotask(() => { throw error; });
      }
    }
    return list.length > 0;
  }

  /** @internal */
  _silence(): void {
    this.#lists.clear();
  }
}
