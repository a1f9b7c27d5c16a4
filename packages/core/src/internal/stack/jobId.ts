/**
 * Whether a stack can use a job with this id. The service's ids are UUIDs. Other texts are accepted if they are valid in a path and in one
 * line of a log, and not too long. An invalid id would make the service refuse a whole batch.
 */
export const isUsable = (id: string): boolean =>
  /^(?!\.{1,2}$)[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]{1,100}$/u.test(id)

/** An id in printable characters, cropped. */
export const shown = (id: string): string => encodeURIComponent(id.slice(0, 40).toWellFormed())
