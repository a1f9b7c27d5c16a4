/** Dialogs about one thing, such as a job, with an address of their own. */
import { onAddress, read, write } from "./address.js"

/**
 * Connects a dialog to a part of the address. `load` fetches and shows the thing with an id; `open` is what a button calls.
 *
 * @param {string} name
 * @param {HTMLDialogElement} dialog
 * @param {(id: string) => Promise<void>} load
 */
export const addressed = (name, dialog, load) => {
  let shown = ""
  const show = async () => {
    const id = read(name)
    if (id === shown) return
    shown = id
    if (id === "") {
      dialog.close()
      return
    }
    try {
      await load(id)
      if (shown === id && !dialog.open) dialog.showModal()
    } catch {
      // It is gone, for example with the emulator that had it.
      if (shown !== id) return
      shown = ""
      write({ [name]: "" }, { isSameView: true })
    }
  }
  dialog.addEventListener("close", () => {
    shown = ""
    write({ [name]: "" })
  })
  onAddress(show)
  return (id) => {
    write({ [name]: id })
    return show()
  }
}
