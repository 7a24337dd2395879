// Scene-text recognition by a WebAssembly module. index.d.ts describes the interface.

/** Whether the engine takes a module whose only function has these instructions. */
function takes(...body) {
  const function_ = [0, ...body, 11];
  const code = [1, function_.length, ...function_];
  return WebAssembly.validate(
    // prettier-ignore
    new Uint8Array([
      0, 97, 115, 109, 1, 0, 0, 0, // the module's name and version
      1, 5, 1, 96, 0, 1, 123, // a type: nothing to a vector
      3, 2, 1, 0, // a function of it
      10, code.length, ...code,
    ]),
  );
}

const splat = [65, 0, 253, 15]; // i32.const 0, i8x16.splat
const hasVectors = () => takes(...splat);
const hasRelaxed = () => takes(...splat, ...splat, 253, 128, 2); // i8x16.relaxed_swizzle

/** The bytes of a file beside this one in Node, the response with them in a browser. */
async function open(path) {
  const url = new URL(path, import.meta.url);
  if (url.protocol === "file:") {
    return (await import("node:fs/promises")).readFile(url);
  }
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`);
  return response;
}

/** The bytes of a file beside this one. */
async function bytesOf(path) {
  const file = await open(path);
  return file instanceof Uint8Array ? file : new Uint8Array(await file.arrayBuffer());
}

let loading;

/** The module, loaded once. */
function load() {
  loading ??= (async () => {
    if (!hasVectors()) throw new Error("svtrv2 needs WebAssembly SIMD");
    const variant = hasRelaxed() ? "relaxed" : "simd";
    // A response is compiled while it arrives, and what comes of it is kept by browsers.
    const code = open(`./${variant}/svtrv2_bg.wasm`);
    const module = variant === "relaxed"
      ? await import("./relaxed/svtrv2.js")
      : await import("./simd/svtrv2.js");
    await module.default({ module_or_path: await code });
    return module;
  })();
  // A failure, such as a lost connection, is not kept.
  loading.catch(() => (loading = undefined));
  return loading;
}

const isFile = (image) => image instanceof Uint8Array || image instanceof ArrayBuffer;
const asBytes = (bytes) => (bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes));

/** The pixels of an ImageData as bytes, without a copy. */
function pixelsOf({ data, width, height }) {
  if (!ArrayBuffer.isView(data) || data.byteLength !== 4 * width * height) {
    throw new TypeError("an image is an ImageData, or the bytes of a PNG or JPEG file");
  }
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

export class Recognizer {
  #module;

  constructor(module) {
    this.#module = module;
  }

  static async latin({ languageModel: wanted = false, ...setup } = {}) {
    load().catch(() => {}); // meanwhile; fromBytes reports a failure
    const files = ["./models/latin.safetensors", ...(wanted ? ["./models/latin.ngram"] : [])].map(bytesOf);
    const [weights, languageModel] = await Promise.all(files);
    return Recognizer.fromBytes(weights, { languageModel, ...setup });
  }

  static async english(setup = {}) {
    load().catch(() => {}); // as above
    const files = ["./models/english.safetensors", "./models/english.ngram"].map(bytesOf);
    const [weights, languageModel] = await Promise.all(files);
    return Recognizer.fromBytes(weights, { languageModel, ...setup });
  }

  static async fromBytes(weights, { languageModel, ...setup } = {}) {
    const { Recognizer: Module } = await load();
    const model = languageModel ? asBytes(languageModel) : new Uint8Array(0);
    return new Recognizer(new Module(asBytes(weights), model, JSON.stringify(setup)));
  }

  get charset() {
    return JSON.parse(this.#module.charset());
  }

  recognize(image, options = {}) {
    const json = JSON.stringify(options);
    return JSON.parse(
      isFile(image)
        ? this.#module.recognizeFile(asBytes(image), json)
        : this.#module.recognizePixels(pixelsOf(image), image.width, image.height, json),
    );
  }

  recognizeRegions(image, regions, options = {}) {
    const [places, json] = [JSON.stringify(regions), JSON.stringify(options)];
    const module = this.#module;
    return JSON.parse(
      isFile(image)
        ? module.recognizeFileRegions(asBytes(image), places, json)
        : module.recognizePixelsRegions(pixelsOf(image), image.width, image.height, places, json),
    );
  }

  free() {
    this.#module.free();
  }
}

/** Finds the lines of pages. */
export class Detector {
  #module;

  constructor(module) {
    this.#module = module;
  }

  static async fromBytes(weights) {
    const { Detector: Module } = await load();
    return new Detector(new Module(asBytes(weights)));
  }

  detect(image) {
    return JSON.parse(
      isFile(image)
        ? this.#module.detectFile(asBytes(image))
        : this.#module.detectPixels(pixelsOf(image), image.width, image.height),
    );
  }

  free() {
    this.#module.free();
  }
}

export { RecognizerPool } from "./pool.js";
