// The page in headless Chromium: needs `web/build` and `npm ci`.

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { after, before, beforeEach, test } from "node:test";

import { launch, root, serve } from "./browser.mjs";

const shots = `${root}target/web/screenshots`;
const words = JSON.parse(await readFile(`${root}web/test/sample.json`, "utf8"));
let browser, server, context, page;
/** Where requests went that left the page's own server, and what the page complained about. */
let strangers, complaints;

before(async () => {
  await mkdir(shots, { recursive: true });
  server = await serve(`${root}target/web/site`);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.close();
});
beforeEach(async () => {
  await context?.close();
  await open({ viewport: { width: 1200, height: 900 } });
});

async function open(options) {
  context = await browser.newContext(options);
  [strangers, complaints] = [[], []];
  context.on("request", (request) => {
    if (!/^(blob|data):/.test(request.url()) && !request.url().startsWith(server.url)) strangers.push(request.url());
    if (request.method() !== "GET") strangers.push(`${request.method()} ${request.url()}`);
  });
  page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  await page.goto(server.url);
  await page.waitForSelector("body[data-state=ready]");
}

/** The newest card's text, when it is there. */
async function newestText(count) {
  await page.waitForFunction((n) => document.querySelectorAll(".card meter").length >= n, count);
  return page.locator(".card .text").first().textContent();
}

/** The point of the screen where a point of the picture is shown. */
function toScreen(point) {
  return page.evaluate(([x, y]) => {
    const shown = document.getElementById("canvas");
    const { left, top, width } = shown.getBoundingClientRect();
    const scale = width / shown.width;
    return [left + x * scale, top + y * scale];
  }, point);
}

async function showSample() {
  await page.selectOption("#samples", "samples/page.jpg");
  await page.waitForFunction(() => document.getElementById("canvas").width === 1200);
  await page.waitForFunction(() => /^\d+ texts in/.test(document.getElementById("status").textContent));
}

/** The sample, without the lines that were found on it. */
async function showEmptySample() {
  await showSample();
  await page.click("#clear");
}

async function drop(file, type) {
  const bytes = [...(await readFile(`${root}examples/crops/${file}`))];
  await page.evaluate(
    ([bytes, file, type]) => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([new Uint8Array(bytes)], file, { type }));
      document.getElementById("stage").dispatchEvent(
        new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }),
      );
    },
    [bytes, file, type],
  );
}

/** Sets the four corners of a word by hand. */
async function corners(quad) {
  await page.check("[name=tool][value=corners]", { force: true });
  for (const corner of quad) await page.mouse.click(...(await toScreen(corner)));
}

test("a picture that is dropped is recognised", async () => {
  await drop("harbour.png", "image/png");
  assert.equal(await newestText(1), "Harbour");
  const letters = await page.locator(".character").evaluateAll((all) => all.map((one) => one.firstChild.textContent));
  assert.equal(letters.join(""), "Harbour");
  assert.match(await page.locator(".confidence").textContent(), /^\d+ %$/);
  assert.deepEqual([strangers, complaints], [[], []]);
});

test("a picture that is pasted is recognised", async () => {
  const bytes = [...(await readFile(`${root}examples/crops/open.png`))];
  await page.evaluate((bytes) => {
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File([new Uint8Array(bytes)], "open.png", { type: "image/png" }));
    dispatchEvent(new ClipboardEvent("paste", { clipboardData }));
  }, bytes);
  assert.equal(await newestText(1), "OPEN");
});

test("four corners around every word of the page, and boxes of its characters", async () => {
  await showEmptySample();
  for (const [index, { text, quad }] of words.entries()) {
    await corners(quad);
    assert.equal((await newestText(index + 1)).toLowerCase(), text.toLowerCase());
    const [screen, boxes] = [
      await Promise.all(quad.map(toScreen)),
      await page.locator("polygon.box").evaluateAll((all) => {
        const { left, top } = document.getElementById("overlay").getBoundingClientRect();
        return all.map((box) => {
          const points = [...box.points].map(({ x, y }) => [x + left, y + top]);
          return [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis] / 4, 0));
        });
      }),
    ];
    assert.equal(boxes.length, text.length, text);
    for (const [x, y] of boxes) {
      const inside = screen.every(([x0, y0], corner) => {
        const [x1, y1] = screen[(corner + 1) % 4];
        return (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) >= -2;
      });
      assert.ok(inside, `${text}: a character's centre, ${x}, ${y}, lies outside of the word`);
    }
    // Along the line of text.
    const [[ax, ay], [bx, by]] = screen;
    const along = boxes.map(([x, y]) => (x - ax) * (bx - ax) + (y - ay) * (by - ay));
    assert.deepEqual(along, along.toSorted((a, b) => a - b), text);
  }
  await page.screenshot({ path: `${shots}/corners.png` });
  assert.deepEqual([strangers, complaints], [[], []]);
});

test("a rectangle is dragged, and a corner of it corrected", async () => {
  await showEmptySample();
  const { text, quad } = words.find(({ text }) => text === "Bakery");
  const [from, to] = [await toScreen(quad[0]), await toScreen(quad[2])];
  await page.mouse.move(...from);
  await page.mouse.down();
  await page.mouse.move(...to, { steps: 4 });
  await page.mouse.up();
  assert.equal(await newestText(1), text);
  // Half of the word is another text.
  const half = [(from[0] + to[0]) / 2, to[1]];
  await page.mouse.move(...to);
  await page.mouse.down();
  await page.mouse.move(...half, { steps: 4 });
  await page.mouse.up();
  await page.waitForFunction((text) => document.querySelector(".text").textContent !== text, text);
  await page.click(".remove");
  assert.equal(await page.locator(".card").count(), 0);
});

test("settings: digits only, a lexicon, the greedy decoder", async () => {
  await page.setInputFiles("#open", `${root}examples/crops/restaurant.png`);
  assert.equal(await newestText(1), "RESTAURANT");
  await page.click("summary");
  const becomes = (test, argument) => page.waitForFunction(test, argument, { timeout: 20_000 });
  await page.fill("#lexicon", "HOTEL, RESTAURANTS");
  await page.locator("#lexicon").blur();
  await becomes(() => document.querySelector(".text").textContent === "RESTAURANTS");
  await page.fill("#lexicon", "");
  await page.fill("#allow", "0123456789");
  await page.locator("#allow").blur();
  await becomes(() => /^\d*$|no text/.test(document.querySelector(".text").textContent));
  await page.fill("#allow", "");
  await page.selectOption("#decoder", "greedy");
  await becomes(() => document.querySelector(".text").textContent === "RESTAURANT" && !document.querySelector(".alternatives"));
});

test("the lines of a page are found, read, shown over it and copied", async () => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await showSample();
  const found = await page.locator(".card .text").allTextContents();
  const read = found.join(" ").toLowerCase();
  for (const { text } of words) assert.ok(read.includes(text.toLowerCase()), `${text} is not in ${found}`);
  await page.click("#copy");
  assert.deepEqual((await page.evaluate(() => navigator.clipboard.readText())).split("\n"), found);
  await page.check("#over");
  assert.deepEqual((await page.locator("text.reading").allTextContents()).toReversed(), found);
  await page.screenshot({ path: `${shots}/lines.png` });
  assert.deepEqual([strangers, complaints], [[], []]);
  // Without a network: the detector has been kept.
  await page.evaluate(() => navigator.serviceWorker.ready);
  await page.reload();
  await page.waitForSelector("body[data-state=ready]");
  await showSample();
  await context.setOffline(true);
  await page.reload();
  await page.waitForSelector("body[data-state=ready]");
  await showSample();
  assert.deepEqual(await page.locator(".card .text").allTextContents(), found);
});

test("the English model, with its language model", async () => {
  await page.click("summary");
  await page.selectOption("#model", "english");
  await page.waitForSelector("body[data-state=ready]");
  await page.setInputFiles("#open", `${root}examples/crops/restaurant.png`);
  assert.equal(await newestText(1), "RESTAURANT");
});

test("files that are no pictures or weights are refused in words", async () => {
  await page.setInputFiles("#open", { name: "a.png", mimeType: "image/png", buffer: Buffer.from("no picture") });
  await page.waitForFunction(() => /no picture/.test(document.querySelector("#status.error")?.textContent));
  await page.setInputFiles("#weights", { name: "a.safetensors", mimeType: "", buffer: Buffer.from("no weights") });
  await page.waitForSelector("body[data-state=failed]");
  assert.notEqual(await page.locator("#status.error").textContent(), "");
  // The recogniser from before is still there.
  await drop("open.png", "image/png");
  assert.equal(await newestText(1), "OPEN");
});

test("without a network", async () => {
  await page.evaluate(() => navigator.serviceWorker.ready);
  await page.waitForFunction(async () => {
    const registration = await navigator.serviceWorker.getRegistration();
    return registration?.active?.state === "activated";
  });
  await page.reload();
  await page.waitForSelector("body[data-state=ready]");
  await context.setOffline(true);
  await page.reload();
  await page.waitForSelector("body[data-state=ready]");
  await page.selectOption("#samples", "samples/harbour.png");
  assert.equal(await newestText(1), "Harbour");
});

test("a phone: everything fits, and a finger works", async () => {
  await context.close();
  await open({ viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true });
  await showEmptySample();
  const { text, quad } = words.find(({ text }) => text === "PARKING");
  await page.tap("text=Four corners");
  for (const corner of quad) await page.touchscreen.tap(...(await toScreen(corner)));
  assert.equal(await newestText(1), text);
  const [inner, outer] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(inner <= outer, `${inner} pixels of content in ${outer}`);
  await page.screenshot({ path: `${shots}/phone.png`, fullPage: true });
});

test("the first text after the page's start", async () => {
  const start = performance.now();
  await page.reload();
  await page.waitForSelector("body[data-state=ready]");
  await page.selectOption("#samples", "samples/harbour.png");
  await newestText(1);
  console.log(`first text after ${Math.round(performance.now() - start)} ms`);
});
