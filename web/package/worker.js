// A worker of a RecognizerPool: answers one message at a time.

import { Recognizer } from "./index.js";

let recognizer;
let image;

const tasks = {
  async load({ weights, setup }) {
    recognizer = weights
      ? await Recognizer.fromBytes(weights, setup)
      : await Recognizer.embedded(setup);
    return recognizer.charset;
  },
  recognize: ({ options }) => recognizer.recognize(image, options),
  recognizeRegions: ({ regions, options }) => recognizer.recognizeRegions(image, regions, options),
};

onmessage = async ({ data }) => {
  image = data.image ?? image;
  try {
    postMessage({ value: await tasks[data.task](data) });
  } catch (error) {
    postMessage({ error: String(error?.message ?? error) });
  }
};
