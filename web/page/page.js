// The page: a picture, its lines or regions that are drawn, and their texts.

import { RecognizerPool } from "./svtrv2/index.js";
import { showCards } from "./cards.js";
import { contains, rectangle, View } from "./view.js";

const find = (id) => document.getElementById(id);
const [stage, canvas, list, status] = ["stage", "canvas", "list", "status"].map(find);
const view = new View(stage, canvas, find("overlay"));

/** Pixels beyond which a picture is shrunk: phones take larger ones than their memory holds. */
const MOST_PIXELS = 12e6;
/** Pictures up to this height are taken for a single word. */
const WORD_HEIGHT = 160;

let regions = [];
let chosen;
/** What is being drawn: points of the picture. */
let draft = [];
/** The picture's pixels. */
let pixels;
/** Recognition away from the page's thread, so that the page answers meanwhile. */
let pool;
/** Which of the package's models the pool runs; none of them with weights of the user's. */
let model;
/** The detector's weights, when they have been needed. */
let detector;

function say(text, isError = false) {
  status.textContent = text;
  status.classList.toggle("error", isError);
}

// Recognition.

function options() {
  const allow = find("allow").value;
  const lexicon = find("lexicon").value.split(",").map((word) => word.trim()).filter(Boolean);
  let decoder = find("decoder").value;
  if (decoder === "greedy" && lexicon.length > 0) decoder = "beam";
  if (decoder === "beam" && model === "english") decoder = "languageModel";
  return {
    decoder,
    ...(decoder === "greedy" ? {} : { nBest: 5 }),
    ...(allow ? { allow } : {}),
    ...(lexicon.length > 0 ? { lexicon } : {}),
  };
}

async function recognize(some) {
  // The first model is followed by the regions there are.
  if (some.length === 0 || !pool) return;
  try {
    const start = performance.now();
    const points = some.map((region) => region.points);
    const results = await pool.recognizeRegions(pixels, points, options());
    some.forEach((region, index) => (region.result = results[index]));
    const milliseconds = Math.round(performance.now() - start);
    say(`${some.length === 1 ? "1 text" : `${some.length} texts`} in ${milliseconds} ms`);
  } catch (error) {
    some.forEach((region) => (region.result = { error: error.message }));
    say(error.message, true);
  }
  draw();
}

function add(points) {
  const region = { points };
  regions.push(region);
  chosen = region;
  draw();
  return recognize([region]);
}

const BY_HAND = "Drag over a word, or set its four corners";

/** Finds the lines of the picture and recognises them. */
async function findLines() {
  if (!pool || !pixels) return;
  const page = pixels;
  try {
    say("Finding lines");
    const start = performance.now();
    detector ??= await bytesOf("./detector.safetensors");
    if (!detector) return say(BY_HAND);
    const lines = await pool.detect(page, detector);
    const milliseconds = Math.round(performance.now() - start);
    if (pixels !== page) return;
    if (lines.length === 0) return say(`No lines found. ${BY_HAND}`);
    say(`${lines.length === 1 ? "1 line" : `${lines.length} lines`} found in ${milliseconds} ms`);
    // The newest card is the uppermost.
    const found = lines.map(({ quad, outline }) => ({ points: outline.length > 0 ? outline : quad })).reverse();
    regions = found;
    chosen = undefined;
    draw();
    await recognize(found);
  } catch (error) {
    say(error.message, true);
  }
}

/** A file of this site; nothing if there is none. */
async function bytesOf(url) {
  const response = await fetch(url);
  return response.ok ? new Uint8Array(await response.arrayBuffer()) : undefined;
}

const allText = () => regions.map(({ result }) => result?.text ?? "").reverse().filter(Boolean).join("\n");

// Pictures.

async function show(blob) {
  try {
    const bitmap = await createImageBitmap(blob);
    const shrink = Math.min(1, Math.sqrt(MOST_PIXELS / (bitmap.width * bitmap.height)));
    canvas.width = Math.max(1, Math.round(bitmap.width * shrink));
    canvas.height = Math.max(1, Math.round(bitmap.height * shrink));
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    pixels = context.getImageData(0, 0, canvas.width, canvas.height);
    [regions, chosen, draft] = [[], undefined, []];
    stage.classList.remove("empty");
    for (const id of ["find", "whole", "clear", "copy"]) find(id).disabled = false;
    view.fit();
    draw();
    if (canvas.height <= WORD_HEIGHT || canvas.height > 3 * canvas.width) await whole();
    else await findLines();
  } catch {
    say("This file is no picture that the browser can show", true);
  }
}

const whole = () => add(rectangle([0, 0], [canvas.width, canvas.height]));

async function showUrl(url) {
  const response = await fetch(url);
  if (response.ok) await show(await response.blob());
}

const imageOf = (items) => [...items].find((item) => item.type.startsWith("image/"));

for (const id of ["open", "photograph"]) {
  find(id).onchange = ({ target }) => {
    if (target.files[0]) show(target.files[0]);
    target.value = "";
  };
}
find("samples").onchange = ({ target }) => {
  if (target.value) showUrl(target.value);
  target.value = "";
};
find("paste").onclick = async () => {
  try {
    for (const item of await navigator.clipboard.read()) {
      const type = item.types.find((name) => name.startsWith("image/"));
      if (type) return show(await item.getType(type));
    }
    say("There is no picture on the clipboard", true);
  } catch {
    say("The browser gives no clipboard to buttons: press Ctrl+V", true);
  }
};
addEventListener("paste", (event) => {
  const item = imageOf(event.clipboardData?.items ?? []);
  if (item) show(item.getAsFile());
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  stage.classList.add("dropping");
});
addEventListener("dragleave", () => stage.classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault();
  stage.classList.remove("dropping");
  const file = imageOf(event.dataTransfer?.files ?? []);
  if (file) show(file);
});

// Drawing.

function draw() {
  view.clear();
  if (!pixels) return;
  for (const region of regions) {
    view.draw(region.points, region === chosen ? "region chosen" : "region");
  }
  if (find("over").checked) {
    for (const { points, result } of regions) {
      if (result?.text && points.length === 4) view.text(points, result.text);
    }
  }
  if (chosen) {
    for (const { quad } of chosen.result?.characters ?? []) view.draw(quad, "box");
    for (const point of chosen.points) view.dot(point, "corner");
  }
  if (draft.length > 0) {
    view.draw(draft, "draft", draft.length > 2);
    for (const point of draft) view.dot(point, "corner");
  }
  showCards(list, regions, chosen, {
    choose(region) {
      chosen = region;
      draw();
    },
    remove(region) {
      regions = regions.filter((other) => other !== region);
      if (chosen === region) chosen = regions.at(-1);
      draw();
    },
  });
}

const tool = () => document.querySelector("[name=tool]:checked").value;

/** Pointers that are down, and what the first of them does. */
const pointers = new Map();
let gesture;

stage.onpointerdown = (event) => {
  // Texts are marked with the mouse.
  if (!pixels || event.button > 0 || event.target.closest(".reading")) return;
  stage.setPointerCapture(event.pointerId);
  const at = view.at(event);
  pointers.set(event.pointerId, at);
  if (pointers.size > 1) {
    // A second finger: both move and zoom.
    if (gesture?.kind === "rectangle") draft = [];
    gesture = { kind: "pinch" };
    draw();
    return;
  }
  const point = view.toPicture(at);
  const corner = chosen?.points.findIndex((other) => {
    const [x, y] = view.toStage(other);
    return Math.hypot(x - at[0], y - at[1]) < (event.pointerType === "touch" ? 22 : 11);
  });
  if (draft.length === 0 && corner >= 0) gesture = { kind: "corner", corner, region: chosen };
  else if (tool() === "move") gesture = { kind: "move" };
  else if (tool() === "corners") gesture = { kind: "corners" };
  else gesture = { kind: "rectangle", start: point, from: at };
};

stage.onpointermove = (event) => {
  const last = pointers.get(event.pointerId);
  if (!last) return;
  const at = view.at(event);
  const point = view.toPicture(at);
  if (gesture.kind === "pinch") {
    const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, where]) => where);
    if (other) {
      const distance = ([x, y]) => Math.max(Math.hypot(x - other[0], y - other[1]), 1);
      view.zoom(distance(at) / distance(last), other);
    }
  } else if (gesture.kind === "move") {
    view.move(at[0] - last[0], at[1] - last[1]);
  } else if (gesture.kind === "corner") {
    gesture.region.points[gesture.corner] = point;
    gesture.moved = true;
  } else if (gesture.kind === "rectangle") {
    draft = rectangle(gesture.start, point);
  }
  pointers.set(event.pointerId, at);
  draw();
};

stage.onpointerup = (event) => {
  if (!pointers.delete(event.pointerId)) return;
  const at = view.at(event);
  const point = view.toPicture(at);
  const done = gesture;
  if (pointers.size > 0) return;
  gesture = undefined;
  if (done.kind === "corner" && done.moved) {
    recognize([done.region]);
  } else if (done.kind === "corners") {
    draft.push(point);
    if (draft.length === 4) add(draft.splice(0));
  } else if (done.kind === "rectangle") {
    const points = draft;
    draft = [];
    if (Math.abs(at[0] - done.from[0]) > 5 && Math.abs(at[1] - done.from[1]) > 5) add(points);
    // A tap chooses.
    else chosen = regions.findLast((region) => contains(region.points, point)) ?? chosen;
  }
  draw();
};
stage.onpointercancel = (event) => {
  pointers.delete(event.pointerId);
  [gesture, draft] = [pointers.size > 0 ? { kind: "pinch" } : undefined, []];
  draw();
};
stage.addEventListener(
  "wheel",
  (event) => {
    if (!pixels) return;
    event.preventDefault();
    view.zoom(Math.exp(-event.deltaY / 500), view.at(event));
    draw();
  },
  { passive: false },
);
addEventListener("keydown", (event) => {
  if (event.key === "Escape") draft = [];
  if (event.key === "Delete" && document.activeElement === stage) {
    regions = regions.filter((region) => region !== chosen);
    chosen = regions.at(-1);
  }
  draw();
});
new ResizeObserver(() => {
  if (pixels) view.fit();
  draw();
}).observe(stage);
for (const input of document.querySelectorAll("[name=tool]")) {
  input.onchange = () => {
    draft = [];
    stage.classList.toggle("move", tool() === "move");
    draw();
  };
}
find("find").onclick = findLines;
find("whole").onclick = whole;
find("over").onchange = draw;
find("copy").onclick = async () => {
  try {
    await navigator.clipboard.writeText(allText());
    say("The text is on the clipboard");
  } catch {
    say("The browser gives no clipboard", true);
  }
};
find("clear").onclick = () => {
  [regions, chosen, draft] = [[], undefined, []];
  draw();
};

// The model and settings.

let weights;

async function load() {
  document.body.dataset.state = "loading";
  say("Loading the model");
  try {
    const setup = { orientation: find("orientation").value };
    const name = find("model").value;
    const next = await (weights
      ? RecognizerPool.fromBytes(weights, setup)
      : RecognizerPool[name](setup));
    pool?.free();
    [pool, model] = [next, weights ? undefined : name];
    if (!pixels) say(`Ready: ${pool.charset.length} symbols`);
    document.body.dataset.state = "ready";
  } catch (error) {
    say(error.message, true);
    document.body.dataset.state = "failed";
  }
  // The first model is followed by a picture there is.
  if (pixels && regions.length === 0) await findLines();
  else await recognize(regions);
}

find("orientation").onchange = load;
find("model").onchange = () => {
  weights = undefined;
  load();
};
for (const id of ["decoder", "allow", "lexicon"]) find(id).onchange = () => recognize(regions);
find("weights").onchange = async ({ target }) => {
  if (!target.files[0]) return;
  weights = new Uint8Array(await target.files[0].arrayBuffer());
  target.value = "";
  load();
};

stage.classList.add("empty");
load();
navigator.serviceWorker?.register("./service-worker.js").catch(() => {});
