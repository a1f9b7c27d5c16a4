/** Not a secret: the emulator is for this machine. */
export const defaultToken = "bkct_emulator"
