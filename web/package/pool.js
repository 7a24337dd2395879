// Recognizers in web workers. index.d.ts describes the interface.

const MOST_WORKERS = 4;

export class RecognizerPool {
  /** What every worker begins with. */
  #load;
  /** Workers at most: fewer if no more can be started. */
  #limit;
  /** Why there are no workers any more. */
  #end = new Error("the pool has been freed");
  #charset;
  /** The bytes of the detector's weights. */
  #detector;
  /** { worker, task, image, detector }: what the worker does, and the image and the detector that it has. */
  #members = new Set();
  /** Tasks that no worker has taken: { message, image, resolve, reject }. */
  #queue = [];

  constructor(setup, limit) {
    [this.#load, this.#limit] = [{ task: "load", ...setup }, limit];
  }

  static latin(setup = {}) {
    return RecognizerPool.#of("latin", setup);
  }

  static english(setup = {}) {
    return RecognizerPool.#of("english", setup);
  }

  static fromBytes(weights, setup = {}) {
    return RecognizerPool.#of(weights, setup);
  }

  static async #of(model, { workers, ...setup }) {
    const limit = workers ?? Math.min(navigator.hardwareConcurrency || 1, MOST_WORKERS);
    if (!(limit >= 1)) throw new RangeError(`a pool of ${limit} workers`);
    const pool = new RecognizerPool({ model, setup }, limit);
    pool.#charset = await pool.#start();
    return pool;
  }

  get charset() {
    return [...this.#charset];
  }

  get size() {
    return this.#members.size;
  }

  recognize(image, options = {}) {
    return this.#ask(image, { task: "recognize", options });
  }

  async recognizeRegions(image, regions, options = {}) {
    const ask = (region) => this.#ask(image, { task: "recognizeRegions", regions: [region], options });
    return (await Promise.all(Array.from(regions, ask))).flat();
  }

  detect(image, weights) {
    this.#detector = weights;
    return this.#ask(image, { task: "detect" });
  }

  free() {
    this.#limit = 0;
    for (const member of this.#members) this.#remove(member, this.#end);
    this.#assign();
  }

  #ask(image, message) {
    return new Promise((resolve, reject) => {
      if (!(image instanceof Object)) throw new TypeError("no image");
      this.#queue.push({ message, image, resolve, reject });
      this.#assign();
    });
  }

  /** Gives tasks to idle workers, and starts more for those that wait. */
  #assign() {
    for (const member of this.#members) {
      if (!member.task && this.#queue.length > 0) this.#give(member, this.#queue.shift());
    }
    let loading = [...this.#members].filter(({ task }) => task?.message === this.#load).length;
    for (; loading < this.#queue.length && this.#members.size < this.#limit; loading++) {
      this.#start().catch(() => {}); // the others go on
    }
    if (this.#limit === 0) for (const { reject } of this.#queue.splice(0)) reject(this.#end);
  }

  /** Starts a worker; a promise of the symbols that its network knows. */
  #start() {
    const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    const member = { worker };
    this.#members.add(member);
    worker.onmessage = ({ data: { value, error } }) => {
      const { task } = member;
      member.task = undefined;
      if (error === undefined) task.resolve(value);
      else if (task.message === this.#load) this.#failToLoad(member, task, new Error(error));
      else task.reject(new Error(error));
      this.#assign();
    };
    worker.onerror = (event) => {
      const error = new Error(event.message || "a worker failed");
      if (member.task?.message === this.#load) this.#failToLoad(member, member.task, error);
      else this.#remove(member, error);
      this.#assign();
    };
    return new Promise((resolve, reject) => {
      this.#give(member, { message: this.#load, resolve, reject });
    });
  }

  /** An image is sent to a worker once in a row. */
  #give(member, task) {
    const { message, image, reject } = task;
    const sent = { ...message };
    if (image && image !== member.image) sent.image = image;
    const detector = message.task === "detect" ? this.#detector : member.detector;
    if (detector !== member.detector) sent.weights = detector;
    try {
      member.worker.postMessage(sent);
      [member.task, member.detector] = [task, detector];
      member.image = image ?? member.image;
    } catch (error) {
      reject(error); // what cannot be copied
    }
  }

  /** No more workers than there are: memory may not be enough. */
  #failToLoad(member, task, error) {
    this.#remove(member, error);
    task.reject(error);
    this.#limit = this.#members.size;
    if (this.#limit === 0) this.#end = error;
  }

  #remove(member, error) {
    member.worker.terminate();
    this.#members.delete(member);
    member.task?.reject(error);
  }
}
