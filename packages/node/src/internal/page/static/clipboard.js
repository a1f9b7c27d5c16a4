/** Texts to copy. */
import { say } from "./dom.js"

/** Makes a button copy the text of an element. Where the browser does not allow that, the text is selected. */
export const copies = (button, element) =>
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(element.textContent)
      say("Copied.")
    } catch {
      getSelection().selectAllChildren(element)
      say("Selected. Copy it with the keyboard.")
    }
  })
