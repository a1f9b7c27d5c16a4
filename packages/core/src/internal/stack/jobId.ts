/**
 * Whether a stack can do its work with a job of this id. The service's ids are UUIDs; any other text will do that can stand in a
 * path and in one line of a log, and is not too long for either. One that can't would have a whole batch refused.
 */
export const isUsable = (id: string): boolean =>
  /^(?!\.{1,2}$)[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]{1,100}$/u.test(id)

/** An id in plain characters, or the beginning of it. */
export const shown = (id: string): string => encodeURIComponent(id.slice(0, 40).toWellFormed())
