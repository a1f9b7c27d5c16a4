/** A picture in Mermaid's language. It is drawn in the browser, and again when the reader changes between light and dark. */
import type Mermaid from "@mermaid-js/tiny"
import script from "@mermaid-js/tiny/dist/mermaid.tiny.js?url"
import { useData } from "vitepress"
import { defineComponent, h, onMounted, ref, useId, watch } from "vue"

declare global {
  var mermaid: typeof Mermaid
}

/** Loads Mermaid as a script: its file sets a global, and is no module. */
const loadMermaid = (): Promise<typeof Mermaid> =>
  new Promise((resolve, reject) => {
    if ("mermaid" in globalThis) return resolve(globalThis.mermaid)
    const element = document.createElement("script")
    element.src = script
    element.onload = () => resolve(globalThis.mermaid)
    element.onerror = () => reject(new Error("The diagrams can't be loaded"))
    document.head.append(element)
  })

export const Diagram = defineComponent({
  props: {
    /** The text of the picture, encoded as a component of a URL. */
    code: { type: String, required: true }
  },
  setup({ code }) {
    const { isDark } = useData()
    const id = `diagram-${useId()}`
    const svg = ref("")
    const draw = async () => {
      const mermaid = await loadMermaid()
      mermaid.initialize({ startOnLoad: false, theme: isDark.value ? "dark" : "neutral", securityLevel: "strict" })
      const drawn = await mermaid.render(id, decodeURIComponent(code))
      svg.value = drawn.svg
    }
    onMounted(draw)
    watch(isDark, draw)
    return () => h("div", { class: "diagram", role: "img", "aria-label": "Diagram", innerHTML: svg.value })
  }
})
