/** What a library's error is about: the error of the database, or of the system, that caused it. */
export const rootError = (error: Error): Error => (error.cause instanceof Error ? rootError(error.cause) : error)
