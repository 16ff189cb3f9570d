// The map of a layer's experts: one square each, brighter for more selections, expert r * side + c in
// row r and column c. One expert is the cursor; some may be lit.

// Control points of matplotlib's "inferno" (CC0), evenly spaced, as the server draws it.
const INFERNO = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21],
                 [250, 193, 39], [252, 255, 164]];
const LIT = "#00e5ff";     // no colour of the palette is near it
const CURSOR = "#ffffff";

function heat(t) {
  const at = Math.min(Math.max(t, 0), 1) * (INFERNO.length - 1);
  const segment = Math.min(Math.floor(at), INFERNO.length - 2);
  return INFERNO[segment].map((low, i) => Math.round(low + (INFERNO[segment + 1][i] - low) * (at - segment)));
}

// As pixels: alpha, blue, green, red.
const PALETTE = Uint32Array.from({length: 1024}, (_, i) => {
  const [red, green, blue] = heat(i / 1023);
  return (255 << 24 | blue << 16 | green << 8 | red) >>> 0;
});

export function drawLegend(canvas) {
  canvas.width = 128;
  canvas.height = 1;
  const context = canvas.getContext("2d");
  for (let x = 0; x < 128; ++x) {
    context.fillStyle = `rgb(${heat(x / 127)})`;
    context.fillRect(x, 0, 1, 1);
  }
}

// Where experts lie: those of each set as a square, sets side by side.
export class Grid {
  constructor(layer) {
    this.perSet = layer.num_experts / layer.expert_sets;
    this.sets = layer.expert_sets;
    this.side = Math.ceil(Math.sqrt(this.perSet));
    this.experts = layer.num_experts;
    this.width = this.side * this.sets + this.sets - 1;
  }

  place(id) {
    const expert = id % this.perSet;
    return [Math.floor(id / this.perSet) * (this.side + 1) + expert % this.side, Math.floor(expert / this.side)];
  }

  at(x, y) {
    const set = Math.floor(x / (this.side + 1)), column = x % (this.side + 1), expert = y * this.side + column;
    const inside = x >= 0 && y >= 0 && column < this.side && set < this.sets && expert < this.perSet;
    return inside ? set * this.perSet + expert : null;
  }

  // In words; `names` of the experts, if they have any.
  describe(id, names) {
    const expert = id % this.perSet, parts = [`expert ${id}`];
    if (names) parts.push(names[id]);
    if (this.sets > 1) parts.push(`head ${Math.floor(id / this.perSet)}`);
    if (this.side * this.side === this.perSet) {
      parts.push(`sub-keys ${Math.floor(expert / this.side)} and ${expert % this.side}`);
    }
    return parts.join(", ");
  }
}

export class ExpertMap {
  // Calls `moved` with the map whenever the cursor was moved.
  constructor(canvas, moved) {
    Object.assign(this, {canvas, moved, cursor: null, lit: new Map(), base: document.createElement("canvas")});
    for (const type of ["pointermove", "pointerdown"]) canvas.addEventListener(type, (event) => this.point(event));
    canvas.addEventListener("keydown", (event) => this.step(event));
  }

  show(layer, counts, scaleName) {
    this.grid = new Grid(layer);
    this.counts = counts;
    if (this.cursor >= counts.length) this.cursor = null;
    const {base, grid} = this;
    [base.width, base.height] = [grid.width, grid.side];
    const context = base.getContext("2d"), image = context.createImageData(base.width, base.height);
    const pixels = new Uint32Array(image.data.buffer), scale = scaleName === "log" ? Math.log1p : (x) => x;
    this.most = counts.reduce((a, b) => Math.max(a, b), 0);
    const brightest = (PALETTE.length - 1) / scale(Math.max(1, this.most));
    for (let id = 0; id < counts.length; ++id) {  // there may be a million
      const expert = id % grid.perSet, row = Math.floor(expert / grid.side);
      const left = Math.floor(id / grid.perSet) * (grid.side + 1);
      pixels[row * base.width + left + expert % grid.side] = PALETTE[Math.round(scale(counts[id]) * brightest)];
    }
    context.putImageData(image, 0, 0);
    this.draw();
  }

  // `lit`: weights by expert; the others are dimmed when there are any.
  light(lit) {
    this.lit = lit;
    this.draw();
  }

  draw() {
    if (!this.grid) return;
    const {canvas, grid} = this;
    const cell = Math.max(1, Math.round(640 * Math.ceil(devicePixelRatio) / grid.width));
    [canvas.width, canvas.height] = [grid.width * cell, grid.side * cell];
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(this.base, 0, 0, canvas.width, canvas.height);
    if (this.lit.size > 0) this.drawLit(context, cell);
    if (this.cursor !== null) this.drawCursor(context, cell);
  }

  drawLit(context, cell) {
    context.fillStyle = "rgb(0 0 0 / 55%)";
    context.fillRect(0, 0, context.canvas.width, context.canvas.height);
    context.fillStyle = LIT;
    const most = Math.max(...this.lit.values()), grow = Math.max(0, 4 - cell);
    for (const [id, weight] of this.lit) {
      const [x, y] = this.grid.place(id);
      context.globalAlpha = 0.45 + 0.55 * (most > 0 ? Math.max(weight, 0) / most : 1);
      context.fillRect(x * cell - grow, y * cell - grow, cell + 2 * grow, cell + 2 * grow);
    }
    context.globalAlpha = 1;
  }

  drawCursor(context, cell) {
    const [x, y] = this.grid.place(this.cursor);
    for (const [width, colour] of [[6, "#000000"], [3, CURSOR]]) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.strokeRect(x * cell - 3, y * cell - 3, cell + 6, cell + 6);
    }
  }

  moveTo(id) {
    this.cursor = id;
    this.draw();
    this.moved(this);
  }

  point(event) {
    if (!this.grid) return;
    const box = this.canvas.getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left) / box.width * this.grid.width);
    const y = Math.floor((event.clientY - box.top) / box.height * this.grid.side);
    const id = this.grid.at(x, y);
    if (id !== null && id !== this.cursor) this.moveTo(id);
  }

  step(event) {
    if (!this.grid) return;
    const {side, experts} = this.grid, at = this.cursor ?? 0;
    const next = {ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - side, ArrowDown: at + side, Home: 0,
                  End: experts - 1}[event.key];
    if (next === undefined) return;
    event.preventDefault();
    if (this.cursor === null) this.moveTo(0);
    else if (next >= 0 && next < experts) this.moveTo(next);
  }
}
