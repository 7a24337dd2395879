// A worker of a RecognizerPool: answers one message at a time.

import { Detector, Recognizer } from "./index.js";

let recognizer;
let detector;
let image;

const tasks = {
  /** `model` is the name of one of the package's models, or the bytes of a weights file. */
  async load({ model, setup }) {
    recognizer = typeof model === "string"
      ? await Recognizer[model](setup)
      : await Recognizer.fromBytes(model, setup);
    return recognizer.charset;
  },
  async detect({ weights }) {
    if (weights) detector = await Detector.fromBytes(weights);
    return detector.detect(image);
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
