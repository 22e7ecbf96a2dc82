/** The error of the store's room: a state or a key that cannot be used, told so that a person knows what to do next. */

/** Message: what happened, to which file or database, why, and what to do. Holds no password and no stored value. */
export class StoreError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "StoreError";
  }
}

/** The sentence of a state that a newer Berth wrote; nothing of it was changed. */
export function newerStateError(where: string, found: number, known: number): StoreError {
  return new StoreError(
    `${where} was written by a newer Berth (state version ${found}, this one knows up to ${known}); it was left untouched. ` +
      "Start the newer Berth, or restore a backup that this version made.",
  );
}
