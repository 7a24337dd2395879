// Milliseconds from the start of a page until a model has read a crop, in a browser that has cached nothing. Needs
// `web/build` and `npm ci`.
//
//   node web/test/first_text.mjs [ROUNDS]

import { launch, serve, root } from "./browser.mjs";

const rounds = Number(process.argv[2] ?? 9);
const models = ["latin", "english"];
const server = await serve(`${root}target/web/site`);
const browser = await launch();

async function measure(model) {
  const context = await browser.newContext();
  await context.route("**/first_text.html", (route) =>
    route.fulfill({
      contentType: "text/html",
      body: `<script type="module">
        import { Recognizer } from "/svtrv2/index.js";
        const crop = fetch("/samples/harbour.png").then((response) => response.arrayBuffer());
        const recognizer = await Recognizer.${model}();
        const { text } = recognizer.recognize(new Uint8Array(await crop));
        window.first = { text, at: performance.now() };
      </script>`,
    }),
  );
  const page = await context.newPage();
  await page.goto(`${server.url}first_text.html`);
  await page.waitForFunction(() => window.first);
  const { text, at } = await page.evaluate(() => window.first);
  await context.close();
  if (text !== "Harbour") throw new Error(`${model} reads ${text}`);
  return at;
}

const times = Object.fromEntries(models.map((model) => [model, []]));
for (let round = 0; round < rounds; round++) {
  for (const model of models) times[model].push(await measure(model));
}
for (const [model, own] of Object.entries(times)) {
  own.sort((a, b) => a - b);
  console.log(`${model}: ${own[own.length >> 1].toFixed(0)} ms, ${own[0].toFixed(0)} to ${own.at(-1).toFixed(0)}`);
}
await browser.close();
await server.close();
