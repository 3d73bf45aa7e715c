/**
 * A field that this library alone can see on an object that is not its own: no key, no symbol,
 * nothing that a copy, a Proxy or util.inspect would show. Setting it is cheaper than
 * WeakMap.set, reading it costs what any property costs.
 */
export interface HiddenField<T> {
  of(object: object): T | undefined
  set(object: object, value: T): void
}

/** A derived class puts its private fields on whatever the constructor of its base gives back. */
class Itself {
  constructor(object: object) {
    // biome-ignore lint/correctness/noConstructorReturn: that is all this class is for
    return object
  }
}

/** One such field, a name of its own each time. */
export function hiddenField<T>(): HiddenField<T> {
  class Holder extends Itself {
    #value: T

    constructor(object: object, value: T) {
      super(object)
      this.#value = value
    }

    static of(object: object): T | undefined {
      return #value in object ? object.#value : undefined
    }

    static set(object: object, value: T): void {
      if (#value in object) object.#value = value
      else new Holder(object, value)
    }
  }
  return Holder
}
