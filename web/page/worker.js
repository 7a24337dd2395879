// Recognition away from the page's thread, so that the page answers meanwhile.

import { Recognizer } from "./svtrv2/index.js";

let recognizer;
let image;

const tasks = {
  async load({ weights, setup }) {
    const next = weights
      ? await Recognizer.fromBytes(weights, setup)
      : await Recognizer.embedded(setup);
    recognizer?.free();
    recognizer = next;
    return { symbols: recognizer.charset.length, hasLanguageModel: !weights };
  },
  show(pixels) {
    image = pixels;
  },
  recognize({ regions, options }) {
    const start = performance.now();
    const results = recognizer.recognizeRegions(image, regions, options);
    return { results, milliseconds: performance.now() - start };
  },
};

onmessage = async ({ data: { id, task, argument } }) => {
  try {
    postMessage({ id, value: await tasks[task](argument) });
  } catch (error) {
    postMessage({ id, error: String(error?.message ?? error) });
  }
};
