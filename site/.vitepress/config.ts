/** The site's configuration. VitePress reads the pages in `docs`. */
import { posix } from "node:path"
import { defineConfig, type MarkdownOptions } from "vitepress"
import { sections, titleOf } from "./pages.ts"
import { base, homepage, repository } from "./repository.ts"

type MarkdownIt = Parameters<NonNullable<MarkdownOptions["config"]>>[0]

/** Lets links out of `docs`, for example to `../examples`, lead to the repository. */
const linkToRepository = (md: MarkdownIt): void => {
  md.core.ruler.push("link-to-repository", ({ env, tokens }) => {
    for (const token of tokens.flatMap(({ children }) => children ?? [])) {
      const href = token.type === "link_open" ? token.attrGet("href") : null
      if (href === null || !href.startsWith(".")) continue
      const path = posix.join(posix.dirname(env.relativePath), href)
      if (path.startsWith("../")) token.attrSet("href", `${repository}/blob/main/${path.slice(3)}`)
    }
  })
}

/** Draws code blocks in Mermaid's language as pictures. */
const drawMermaid = (md: MarkdownIt): void => {
  const fence = md.renderer.rules.fence
  md.renderer.rules.fence = (tokens, index, options, env, self) => {
    const token = tokens[index]
    if (token?.info.trim() === "mermaid") return `<Diagram code="${encodeURIComponent(token.content)}" />`
    return fence?.(tokens, index, options, env, self) ?? ""
  }
}

/** The anchor of a heading, as GitHub makes it, so that links work in both places. */
const slugify = (heading: string): string =>
  heading
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
    .replaceAll(/\s/g, "-")

export default defineConfig({
  title: "stacksapi for Effect",
  description: "Write a custom Buildkite stack in TypeScript: the Stacks API as Effects, the runtime, and an emulator",
  lang: "en",
  base,
  srcDir: "../docs",
  outDir: "dist",
  cacheDir: "../node_modules/.cache/vitepress",
  cleanUrls: true,
  lastUpdated: false,
  sitemap: { hostname: homepage },
  // Its esbuild does not know the target that the repository's own configuration names.
  vite: { esbuild: { tsconfigRaw: { compilerOptions: { target: "es2022" } } } },
  markdown: {
    anchor: { slugify },
    config: (md) => {
      linkToRepository(md)
      drawMermaid(md)
    }
  },
  themeConfig: {
    nav: [
      { text: "Guide", link: "/guide" },
      { text: "Cookbook", link: "/cookbook/vm-per-job" },
      { text: "Reference", link: "/reference/" },
      { text: "Command", link: "/cli" }
    ],
    sidebar: sections.map(({ collapsed, pages, title }) => ({
      text: title,
      items: pages.map((page) => ({ text: titleOf(page), link: `/${page}` })),
      ...(collapsed === undefined ? {} : { collapsed })
    })),
    outline: [2, 3],
    search: { provider: "local" },
    socialLinks: [{ icon: "github", link: repository }],
    editLink: { pattern: `${repository}/edit/main/docs/:path`, text: "Edit this page" },
    footer: { message: "MIT License", copyright: "stacksapi contributors" }
  }
})
