// Charts on canvases, in the colours of the style sheet.

const MARGIN = {left: 44, right: 8, top: 8, bottom: 22};

export function colourOf(canvas, name) {
  canvas.style.color = `var(${name})`;  // canvases know no variables
  return getComputedStyle(canvas).color;
}

function prepare(canvas) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.font = "12px system-ui, sans-serif";
  return {context, width, height};
}

// A plane from (0, 0) to (1, 1) with labelled lines; returns what maps a point of it to the canvas.
function plane(canvas, {context, width, height}, {across, up}) {
  const x = (t) => MARGIN.left + t * (width - MARGIN.left - MARGIN.right);
  const y = (t) => height - MARGIN.bottom - t * (height - MARGIN.top - MARGIN.bottom);
  context.lineWidth = 1;
  context.strokeStyle = colourOf(canvas, "--line");
  context.fillStyle = colourOf(canvas, "--quiet");
  context.textBaseline = "middle";
  context.textAlign = "right";
  up.forEach((label, i) => {
    const at = Math.round(y(i / (up.length - 1))) + 0.5;
    context.beginPath();
    context.moveTo(x(0), at);
    context.lineTo(x(1), at);
    context.stroke();
    context.fillText(label, x(0) - 6, at);
  });
  across.forEach((label, i) => {
    context.textAlign = i === 0 ? "left" : i === across.length - 1 ? "right" : "center";
    context.fillText(label, x(i / (across.length - 1)), height - 8);
  });
  return {x, y};
}

// One bar a value; that of `marked` in another colour.
export function bars(canvas, values, marked = null) {
  const {context, width, height} = prepare(canvas);
  const each = width / values.length, most = Math.max(1, ...values);
  const colours = [colourOf(canvas, "--bar"), colourOf(canvas, "--mark")];
  values.forEach((value, i) => {
    const bar = value > 0 ? Math.max(1, height * value / most) : 0;
    context.fillStyle = colours[Number(i === marked)];
    context.fillRect(i * each, height - bar, Math.max(each * 0.9, 1), bar);
    if (i === marked) context.fillRect(i * each, 0, Math.max(each * 0.9, 1), 3);
  });
}

export function lorenz(canvas, values) {
  const drawing = prepare(canvas), {context} = drawing, ticks = ["0 %", "50 %", "100 %"];
  const {x, y} = plane(canvas, drawing, {across: ticks, up: ticks});
  context.setLineDash([4, 4]);
  context.strokeStyle = colourOf(canvas, "--quiet");
  context.beginPath();
  context.moveTo(x(0), y(0));
  context.lineTo(x(1), y(1));
  context.stroke();
  context.setLineDash([]);
  context.strokeStyle = colourOf(canvas, "--mark");
  context.lineWidth = 2;
  context.beginPath();
  values.forEach((value, i) => context.lineTo(x(i / (values.length - 1)), y(value)));
  context.stroke();
}

export const SERIES = 8;  // colours; further lines use them again, dashed

// `points`: {time, parts}, of any number of parts of 1; times in seconds, in order.
export function history(canvas, points) {
  const drawing = prepare(canvas), {context} = drawing;
  const most = Math.max(0.1, ...points.flatMap((point) => point.parts));
  const top = Math.min(1, Math.ceil(10 * most) / 10), last = points.at(-1)?.time ?? 0, first = points[0]?.time ?? 0;
  const span = Math.max(last - first, 0.001), across = (time) => 1 - (last - time) / span;
  const {x, y} = plane(canvas, drawing, {across: [`${Math.ceil(span)} s ago`, "now"],
                                         up: [0, top / 2, top].map((t) => `${Math.round(100 * t)} %`)});
  const lines = points[0]?.parts.length ?? 0;
  for (let line = 0; line < lines; ++line) {
    context.strokeStyle = colourOf(canvas, `--series-${line % SERIES}`);
    context.fillStyle = context.strokeStyle;
    context.setLineDash(line < SERIES ? [] : [5, 3]);
    context.lineWidth = 2;
    context.beginPath();
    for (const {time, parts} of points) context.lineTo(x(across(time)), y(parts[line] / top));
    context.stroke();
    context.beginPath();
    for (const {time, parts} of points) {
      context.moveTo(x(across(time)), y(parts[line] / top));
      context.arc(x(across(time)), y(parts[line] / top), 3, 0, 7);
    }
    context.fill();
  }
}
