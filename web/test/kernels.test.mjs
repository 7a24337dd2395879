// The unit tests of the kernels, compiled to WebAssembly by .ci/platforms, in headless Chromium.

import assert from "node:assert/strict";
import { test } from "node:test";

import { launch, serve } from "./browser.mjs";

const modules = (process.env.KERNEL_TESTS ?? "").split(" ").filter(Boolean);

test("every variant is there", () => assert.notEqual(modules.length, 0));

for (const file of modules) {
  test(file, async () => {
    const server = await serve("/");
    const browser = await launch();
    try {
      const page = await browser.newPage();
      await page.goto(`${server.url}${import.meta.dirname.slice(1)}/sample.html`);
      // A test that fails panics, and a panic traps: the stack names the test.
      const status = await page.evaluate(async (url) => {
        const { instance } = await WebAssembly.instantiateStreaming(fetch(url), {});
        try {
          return instance.exports.main(0, 0);
        } catch (error) {
          return error.stack;
        }
      }, `/${file.replace(/^\//, "")}`);
      assert.equal(status, 0);
    } finally {
      await browser.close();
      await server.close();
    }
  });
}
