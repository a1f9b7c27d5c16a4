/** Dialogs about one thing, such as a job, with an address of their own. */
import { onAddress, read, write } from "./address.js"

/**
 * Connects a dialog to a part of the address. Returns the function that a button calls with an id. `load` fetches the thing with an id,
 * and `show` puts it into the dialog, unless another one was opened in the meantime.
 *
 * @template T
 * @param {string} name
 * @param {HTMLDialogElement} dialog
 * @param {{ load: (id: string) => Promise<T>, show: (thing: T) => void }} thing
 */
export const addressed = (name, dialog, thing) => {
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
      const loaded = await thing.load(id)
      if (shown !== id) return
      thing.show(loaded)
      if (!dialog.open) dialog.showModal()
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
