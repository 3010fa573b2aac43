import { defineConfig } from "vitest/config";

const service = process.env.EMOSTREAM_API ?? "http://127.0.0.1:8000";
const proxied = ["/v1", "/docs", "/openapi.json", "/health", "/metrics"];
const proxy = Object.fromEntries(proxied.map((path) => [path, { target: service }]));

export default defineConfig({
  base: "/",
  server: { proxy },
  preview: { proxy },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "../api/static",
    emptyOutDir: true,
    target: "es2022",
    sourcemap: false,
    // A data: URL would need more of the Content-Security-Policy than the service gives.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700,
  },
  test: { environment: "node", include: ["src/**/*.test.ts"] },
});
