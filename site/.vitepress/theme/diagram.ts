/** A picture in Mermaid's language. It is drawn in the browser, and again when the reader changes between light and dark. */
import { useData } from "vitepress"
import { defineComponent, h, onMounted, ref, useId, watch } from "vue"

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
      const { default: mermaid } = await import("@mermaid-js/tiny")
      mermaid.initialize({ startOnLoad: false, theme: isDark.value ? "dark" : "neutral", securityLevel: "strict" })
      const drawn = await mermaid.render(id, decodeURIComponent(code))
      svg.value = drawn.svg
    }
    onMounted(draw)
    watch(isDark, draw)
    return () => h("div", { class: "diagram", role: "img", "aria-label": "Diagram", innerHTML: svg.value })
  }
})
