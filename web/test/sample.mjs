// Makes page/sample.jpg and sample.json, the corners of its words, of sample.html:
//
//   node web/test/sample.mjs

import { writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

import { launch, root } from "./browser.mjs";

const browser = await launch();
const page = await browser.newPage({ viewport: { width: 1200, height: 800 } });
await page.goto(pathToFileURL(`${root}web/test/sample.html`).href);
await page.screenshot({ path: `${root}web/page/sample.jpg`, quality: 85, type: "jpeg" });
const words = await page.evaluate(() =>
  [...document.querySelectorAll("b")].map((word) => ({
    text: word.textContent,
    quad: [...word.querySelectorAll("i")].map((corner) => {
      const { x, y } = corner.getBoundingClientRect();
      return [Math.round(10 * x) / 10, Math.round(10 * y) / 10];
    }),
  })),
);
await writeFile(`${root}web/test/sample.json`, `${JSON.stringify(words, null, 1)}\n`);
await browser.close();
