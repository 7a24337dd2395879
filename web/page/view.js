// Where the picture lies on the stage, and what is drawn over it.

const NAMESPACE = "http://www.w3.org/2000/svg";

export class View {
  /** Pixels of the screen for one of the picture, and where the picture's corner lies. */
  scale = 1;
  x = 0;
  y = 0;

  constructor(stage, canvas, overlay) {
    Object.assign(this, { stage, canvas, overlay });
  }

  /** Shows all of the picture. */
  fit() {
    const { clientWidth, clientHeight } = this.stage;
    const { width, height } = this.canvas;
    this.scale = Math.min(clientWidth / width, clientHeight / height, 4);
    this.x = (clientWidth - width * this.scale) / 2;
    this.y = (clientHeight - height * this.scale) / 2;
    this.place();
  }

  /** Zooms by a factor around a point of the stage. */
  zoom(factor, [x, y]) {
    const scale = Math.min(Math.max(this.scale * factor, 0.02), 40);
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.place();
  }

  move(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.place();
  }

  place() {
    this.canvas.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
  }

  /** The point of the stage that a pointer is at. */
  at(event) {
    const { left, top } = this.stage.getBoundingClientRect();
    return [event.clientX - left - this.stage.clientLeft, event.clientY - top - this.stage.clientTop];
  }

  toPicture([x, y]) {
    return [(x - this.x) / this.scale, (y - this.y) / this.scale];
  }

  toStage([x, y]) {
    return [x * this.scale + this.x, y * this.scale + this.y];
  }

  clear() {
    this.overlay.replaceChildren();
  }

  /** A polygon (or an open line) through points of the picture. */
  draw(points, className, closed = true) {
    const shape = document.createElementNS(NAMESPACE, closed ? "polygon" : "polyline");
    shape.setAttribute("points", points.map((point) => this.toStage(point).join(",")).join(" "));
    shape.setAttribute("class", className);
    this.overlay.append(shape);
  }

  /** A text in a rectangle, over what is there. */
  text(quad, text) {
    this.draw(quad, "panel");
    const [[x, y], [right, top], , [left, bottom]] = quad.map((point) => this.toStage(point));
    const [width, height] = [Math.hypot(right - x, top - y), Math.hypot(left - x, bottom - y)];
    const shape = document.createElementNS(NAMESPACE, "text");
    const attributes = {
      class: "reading",
      "font-size": 0.72 * height,
      textLength: width,
      lengthAdjust: "spacingAndGlyphs",
      transform: `translate(${x} ${y}) rotate(${(Math.atan2(top - y, right - x) * 180) / Math.PI})`,
      y: 0.76 * height,
    };
    for (const [name, value] of Object.entries(attributes)) shape.setAttribute(name, value);
    shape.textContent = text;
    this.overlay.append(shape);
  }

  dot(point, className) {
    const [x, y] = this.toStage(point);
    const dot = document.createElementNS(NAMESPACE, "circle");
    for (const [name, value] of Object.entries({ cx: x, cy: y, r: 8, class: className })) {
      dot.setAttribute(name, value);
    }
    this.overlay.append(dot);
  }
}

/** The corners of a rectangle between two points, clockwise from the top left. */
export function rectangle([x0, y0], [x1, y1]) {
  const [left, right, top, bottom] = [Math.min(x0, x1), Math.max(x0, x1), Math.min(y0, y1), Math.max(y0, y1)];
  return [[left, top], [right, top], [right, bottom], [left, bottom]];
}

/** Whether a point lies in a polygon. */
export function contains(points, [x, y]) {
  let inside = false;
  points.forEach(([x0, y0], index) => {
    const [x1, y1] = points[(index + 1) % points.length];
    if (y0 > y !== y1 > y && x < ((x1 - x0) * (y - y0)) / (y1 - y0) + x0) inside = !inside;
  });
  return inside;
}
