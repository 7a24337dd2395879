// The package in headless Chromium, beside the native program: needs `web/build` and `npm ci`.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { launch, root, serve } from "./browser.mjs";

const crops = (await readdir(`${root}examples/crops`)).filter((name) => /\.(png|jpg)$/.test(name)).sort();
let browser, server, page;

before(async () => {
  server = await serve(`${root}target/web/site`);
  browser = await launch();
  page = await browser.newPage();
  await page.goto(server.url);
});
after(async () => {
  await browser?.close();
  await server?.close();
});

/** Every crop's result by one of the builds: what index.js does, but with a choice. */
function recognizeAll(variant, options, setup = {}) {
  return page.evaluate(
    async ([variant, crops, options, setup]) => {
      const bytes = async (url) => new Uint8Array(await (await fetch(url)).arrayBuffer());
      const { Recognizer } = await import(`/svtrv2/index.js?${variant}`);
      const module = await import(`/svtrv2/${variant}/svtrv2.js`);
      await module.default({ module_or_path: `/svtrv2/${variant}/svtrv2_bg.wasm` });
      const [weights, ngram] = await Promise.all(["safetensors", "ngram"].map((kind) => bytes(`/svtrv2/models/english.${kind}`)));
      const recognizer = new Recognizer(new module.Recognizer(weights, ngram, JSON.stringify(setup)));
      const results = {};
      for (const crop of crops) results[crop] = recognizer.recognize(await bytes(`/samples/${crop}`), options);
      return results;
    },
    [variant, crops, options, setup],
  );
}

test("the builds and the native program agree", async () => {
  const native = execFileSync(
    process.env.CARGO_NATIVE ?? "cargo",
    // The build of the README's first command.
    ["run", "--quiet", "--release", "--example", "recognize", "--", "--precision", "f32", "--json", "examples/crops"],
    { cwd: root, encoding: "utf8" },
  );
  const expected = Object.fromEntries(
    native.trim().split("\n").map((line) => JSON.parse(line)).map((line) => [line.path.replace(/.*\//, ""), line]),
  );
  let furthest = 0;
  for (const variant of ["simd", "relaxed"]) {
    const found = await recognizeAll(variant, {}, { precision: "f32" });
    assert.deepEqual(Object.keys(found), crops);
    for (const crop of crops) {
      const [result, wanted] = [found[crop], expected[crop]];
      assert.equal(result.text, wanted.text, `${variant}, ${crop}`);
      assert.deepEqual(result.words.map(({ text }) => text), wanted.words.map(({ text }) => text));
      for (const [a, b] of [[result.confidence, wanted.confidence], [result.score, wanted.score]]) {
        furthest = Math.max(furthest, Math.abs(a - b));
        assert.ok(Math.abs(a - b) <= 1e-4, `${variant}, ${crop}: ${a} instead of ${b}`);
      }
    }
  }
  console.log(`scores and confidences differ from the native ones by at most ${furthest.toExponential(1)}`);
});

test("words end at gaps where an option says so", async () => {
  // Two crops beside each other: the English network has no space symbol.
  const { joined, apart, regions } = await page.evaluate(async () => {
    const { Recognizer } = await import("/svtrv2/index.js");
    const recognizer = await Recognizer.english();
    const file = await (await fetch("/samples/international.png")).blob();
    const bitmap = await createImageBitmap(file);
    const [width, height] = [2 * bitmap.width + 8, bitmap.height];
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context.drawImage(bitmap, 0, 0, 1, height, 0, 0, width, height);
    for (const x of [0, bitmap.width + 8]) context.drawImage(bitmap, x, 0);
    const pixels = context.getImageData(0, 0, width, height);
    const whole = { x: 0, y: 0, width, height };
    return {
      joined: recognizer.recognize(pixels),
      apart: recognizer.recognize(pixels, { wordsByGaps: true }),
      regions: recognizer.recognizeRegions(pixels, [whole], { wordsByGaps: true }),
    };
  });
  assert.equal(joined.text, "internationalinternational");
  assert.deepEqual(joined.words.map(({ text }) => text), [joined.text]);
  assert.equal(joined.words[0].confidence, joined.confidence);
  assert.deepEqual({ ...apart, words: joined.words }, joined);
  for (const { words, characters } of [apart, regions[0]]) {
    assert.deepEqual(words.map(({ text }) => text), ["international", "international"]);
    assert.deepEqual(words.map((word) => word.characters), [[0, 13], [13, 26]]);
    assert.deepEqual(words.map(({ followsGap }) => followsGap), [false, true]);
    for (const { bounds, quad, characters: [start, end] } of words) {
      for (const { bounds: inner } of characters.slice(start, end)) {
        assert.ok(inner.x >= bounds.x && inner.x + inner.width <= bounds.x + bounds.width + 1e-3);
        assert.ok(inner.y >= bounds.y && inner.y + inner.height <= bounds.y + bounds.height + 1e-3);
      }
      assert.ok(quad[0][0] < quad[1][0] && quad[0][1] < quad[3][1], JSON.stringify(quad));
    }
    assert.ok(words[0].bounds.x + words[0].bounds.width < words[1].bounds.x);
  }
});

test("the builds agree in int8, and with f32 in the texts", async () => {
  const exact = await recognizeAll("simd", {}, { precision: "f32" });
  const [simd, relaxed] = [
    await recognizeAll("simd", {}, { precision: "int8" }),
    await recognizeAll("relaxed", {}, { precision: "int8" }),
  ];
  assert.notDeepEqual(simd, exact);
  for (const crop of crops) {
    assert.equal(simd[crop].text, exact[crop].text, crop);
    assert.equal(relaxed[crop].text, exact[crop].text, crop);
    assert.ok(Math.abs(simd[crop].confidence - relaxed[crop].confidence) <= 0.05, crop);
  }
});

test("a pool of workers gives what one recognizer gives", async () => {
  const { found, expected, charset, sizes, errors } = await page.evaluate(async () => {
    const { Recognizer, RecognizerPool } = await import("/svtrv2/index.js");
    const message = (promise) => promise.then(() => "", (error) => error.message);
    const image = new Uint8Array(await (await fetch("/samples/page.jpg")).arrayBuffer());
    const regions = Array.from({ length: 12 }, (_, i) => ({ x: 90 * i, y: 50 + 40 * i, width: 200, height: 60 }));
    regions.push([[0, 0], [1, 0], [1, 0], [0, 0]]);
    const recognizer = await Recognizer.english();
    const expected = recognizer.recognizeRegions(image, regions, { decoder: "beam", nBest: 2 });
    expected.push(recognizer.recognize(image));
    const pool = await RecognizerPool.english({ workers: 3 });
    const sizes = [pool.size];
    const found = await pool.recognizeRegions(image, regions, { decoder: "beam", nBest: 2 });
    found.push(await pool.recognize(image));
    sizes.push(pool.size);
    const errors = [
      await message(pool.recognize(new Uint8Array([1, 2, 3]))),
      await message(pool.recognize(image, { decoder: "none" })),
      await message(pool.recognize({ data: () => 0 })),
      await message(pool.recognize()),
      await message(RecognizerPool.english({ workers: 0 })),
      await message(RecognizerPool.fromBytes(new Uint8Array(9))),
    ];
    // After errors it goes on.
    found.push(await pool.recognize(image));
    expected.push(expected.at(-1));
    const waiting = [1, 2, 3, 4, 5].map(() => message(pool.recognize(image)));
    pool.free();
    errors.push(...(await Promise.all(waiting)), await message(pool.recognize(image)));
    sizes.push(pool.size);
    return { found, expected, charset: pool.charset.length, sizes, errors };
  });
  assert.deepEqual(found, expected);
  assert.equal(charset, 94);
  assert.deepEqual(sizes, [1, 3, 0]);
  assert.ok(errors.every((error) => error.length > 5), errors);
  assert.deepEqual(errors.slice(-6), Array(6).fill("the pool has been freed"));
});

test("the language model, alternatives and pixels", async () => {
  const found = await recognizeAll("simd", { decoder: "languageModel", nBest: 3 });
  assert.equal(found["harbour.png"].text, "Harbour");
  assert.equal(found["harbour.png"].alternatives.length, 2);
  const results = await page.evaluate(async () => {
    const { Recognizer } = await import("/svtrv2/index.js");
    const recognizer = await Recognizer.english();
    const file = new Uint8Array(await (await fetch("/samples/harbour.png")).arrayBuffer());
    const bitmap = await createImageBitmap(new Blob([file]));
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const pixels = context.getImageData(0, 0, bitmap.width, bitmap.height);
    const whole = { x: 0, y: 0, width: bitmap.width, height: bitmap.height };
    const errors = [];
    for (const wrong of [
      () => recognizer.recognize(new Uint8Array([1, 2, 3])),
      () => recognizer.recognize({ data: pixels.data, width: 3, height: 3 }),
      () => recognizer.recognize(pixels, { decoder: "none" }),
      () => recognizer.recognize(pixels, { decoder: "greedy", nBest: 2 }),
      () => recognizer.recognize(pixels, { unknown: 1 }),
      () => recognizer.recognizeRegions(pixels, [{ x: 1 }]),
    ]) {
      try {
        errors.push(JSON.stringify(wrong()));
      } catch (error) {
        errors.push(error instanceof Error && error.message.length > 5);
      }
    }
    const [symbols, fromFile, fromPixels] = [recognizer.charset.length, recognizer.recognize(file), recognizer.recognize(pixels)];
    const regions = recognizer.recognizeRegions(pixels, [whole, [[0, 0], [1, 0], [1, 0], [0, 0]]]);
    recognizer.free();
    return { symbols, fromFile, fromPixels, regions, errors };
  });
  assert.equal(results.symbols, 94);
  assert.deepEqual(results.fromPixels, results.fromFile);
  assert.equal(results.regions[0].text, "Harbour");
  assert.equal(typeof results.regions[1].error, "string");
  assert.deepEqual(results.errors, Array(6).fill(true));
});

test("the modules are small", async () => {
  for (const variant of ["simd", "relaxed"]) {
    const size = gzipSync(await readFile(`${root}target/web/package/${variant}/svtrv2_bg.wasm`), { level: 9 }).length;
    console.log(`${variant}: ${size} bytes compressed`);
    assert.ok(size <= 1_050_000, `${variant}: ${size} bytes`);
  }
});

test("the declarations are those that programs need", async () => {
  const program = `${root}target/web/program.mts`;
  await writeFile(
    program,
    `import { Recognizer, RecognizerPool, type Recognition } from "./package/index.js";
const pool = await RecognizerPool.english({ precision: "int8", workers: 2 });
const words: string[] = (await pool.recognizeRegions(new Uint8Array(1), [{ x: 0, y: 0, width: 9, height: 9 }])).map(
  (word) => ("error" in word ? word.error : word.text),
);
pool.free();
const recognizer = await Recognizer.english({ orientation: "best" });
const other: Recognizer = await Recognizer.fromBytes(new Uint8Array(1), { languageModel: new ArrayBuffer(1) });
const found: Recognition = recognizer.recognize(new ImageData(1, 1), { decoder: "languageModel", nBest: 2 });
const [x, y] = found.characters[0].quad[0];
const [{ characters: [start, end], followsGap }] = recognizer.recognize(new Uint8Array(1), { wordsByGaps: true }).words;
console.log(found.characters.slice(start, end).length, followsGap === true);
for (const word of other.recognizeRegions(new Uint8Array(1), [{ x, y, width: 1, height: 2 }, [[0, 0], [1, 0], [1, 1], [0, 1]]]))
  console.log("error" in word ? word.error : word.alternatives[0].logProb);
// @ts-expect-error: there is no such decoder
recognizer.recognize(new Uint8Array(1), { decoder: "best" });
`,
  );
  const compiler = fileURLToPath(new URL("node_modules/typescript/bin/tsc", import.meta.url));
  execFileSync(process.execPath, [compiler, "--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom", program], { stdio: "inherit" });
});

test("the package works in Node", async () => {
  const { Recognizer } = await import(`${root}target/web/package/index.js`);
  const recognizer = await Recognizer.english();
  const { text } = recognizer.recognize(await readFile(`${root}examples/crops/harbour.png`));
  assert.equal(text, "Harbour");
});

test("the model for Latin scripts has a language model where it is asked for", async () => {
  const { plain, error, weighed, pooled } = await page.evaluate(async () => {
    const { Recognizer, RecognizerPool } = await import("/svtrv2/index.js");
    const file = new Uint8Array(await (await fetch("/samples/international.png")).arrayBuffer());
    const options = { decoder: "languageModel", nBest: 2 };
    const greedy = await Recognizer.latin();
    let error = "";
    try {
      greedy.recognize(file, options);
    } catch (thrown) {
      error = thrown.message;
    }
    const recognizer = await Recognizer.latin({ languageModel: true });
    const pool = await RecognizerPool.latin({ languageModel: true, workers: 1 });
    const pooled = await pool.recognize(file, options);
    pool.free();
    return { plain: greedy.recognize(file), error, weighed: recognizer.recognize(file, options), pooled };
  });
  assert.match(error, /no language model/);
  assert.equal(weighed.text, plain.text);
  assert.equal(weighed.alternatives.length, 1);
  assert.deepEqual(pooled, weighed);
});
