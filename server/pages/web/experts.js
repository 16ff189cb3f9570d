// The page of expert usage: everything it shows comes from /experts/*.json and .npy of this server.

const PERIOD = 5000;  // ms between two looks, at least
const SHARE = 0.02;   // of the time that looking may take: a million experts are work for the server
const $ = (id) => document.getElementById(id);
const state = {layers: [], usage: [], chosen: 0, counts: null, cursor: null};

// Control points of matplotlib's "inferno" (CC0), evenly spaced, as the server draws it.
const INFERNO = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21],
                 [250, 193, 39], [252, 255, 164]];

function heat(t) {
  const at = Math.min(Math.max(t, 0), 1) * (INFERNO.length - 1);
  const segment = Math.min(Math.floor(at), INFERNO.length - 2);
  return INFERNO[segment].map((low, i) => Math.round(low + (INFERNO[segment + 1][i] - low) * (at - segment)));
}

const percent = (x) => `${(100 * x).toFixed(1)} %`;
const whole = (x) => x.toLocaleString("en");

function address(file, layer) {
  const query = new URLSearchParams({layer: layer.layer, kind: layer.kind, window: $("window").value});
  return `/experts/usage.${file}?${query}`;
}

async function get(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error((await response.text()).trim() || response.statusText);
  return response;
}

// NumPy's format 1.0: magic, version, length of the header, header, values.
function parseNpy(buffer) {
  const start = 10 + new DataView(buffer).getUint16(8, true);
  const values = new Float64Array(buffer, start);
  return values.subarray(0, values.length / 2);
}

function cell(text) {
  const td = document.createElement("td");
  td.textContent = text;
  return td;
}

function showTable() {
  const rows = state.layers.map((layer, i) => {
    const usage = state.usage[i];
    const row = document.createElement("tr");
    row.setAttribute("aria-selected", i === state.chosen);
    const choose = document.createElement("button");
    choose.textContent = layer.layer;
    choose.setAttribute("aria-label", `Show layer ${layer.layer}, ${layer.kind}`);
    choose.addEventListener("click", () => { state.chosen = i; state.cursor = null; update(); });
    const first = cell("");
    first.append(choose);
    row.append(first, cell(layer.kind), cell(whole(layer.num_experts)));
    if (usage) {
      row.append(cell(whole(usage.selections)), cell(percent(usage.used_ratio)),
                 cell(percent(usage.used_expected_ratio)), cell(usage.unevenness_nats.toFixed(3)),
                 cell(usage.unevenness_expected_nats.toFixed(3)), cell(whole(Math.round(usage.effective_experts))),
                 cell(usage.gini.toFixed(3)),
                 cell(layer.num_experts < 100 ? "-" : percent(usage.top_shares[1])));
    }
    return row;
  });
  const focused = [...document.querySelectorAll("#layers button")].indexOf(document.activeElement);
  $("layers").tBodies[0].replaceChildren(...rows);
  if (focused >= 0) document.querySelectorAll("#layers button")[focused]?.focus();
}

// Experts of each set as a square, sets side by side.
function grid(layer) {
  const perSet = layer.num_experts / layer.expert_sets;
  return {perSet, side: Math.ceil(Math.sqrt(perSet)), sets: layer.expert_sets};
}

function showMap() {
  const layer = state.layers[state.chosen], {perSet, side, sets} = grid(layer);
  const canvas = $("map"), counts = state.counts;
  canvas.width = side * sets + (sets - 1);
  canvas.height = side;
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
  const scale = $("scale").value === "log" ? Math.log1p : (x) => x;
  const most = scale(Math.max(1, counts.reduce((a, b) => Math.max(a, b), 0)));
  counts.forEach((count, id) => {
    const set = Math.floor(id / perSet), expert = id % perSet;
    const x = set * (side + 1) + expert % side, y = Math.floor(expert / side);
    image.data.set([...heat(scale(count) / most), 255], 4 * (y * canvas.width + x));
  });
  context.putImageData(image, 0, 0);
  if (state.cursor !== null) {
    const set = Math.floor(state.cursor / perSet), expert = state.cursor % perSet;
    context.fillStyle = "#00e5ff";
    context.fillRect(set * (side + 1) + expert % side, Math.floor(expert / side), 1, 1);
  }
}

function tellExpert() {
  if (state.cursor === null) return;
  const layer = state.layers[state.chosen], {perSet, side, sets} = grid(layer);
  const id = state.cursor, expert = id % perSet, count = state.counts[id];
  const total = state.usage[state.chosen].selections;
  const parts = [`expert ${id}`];
  if (layer.names) parts.push(layer.names[id]);
  if (sets > 1) parts.push(`head ${Math.floor(id / perSet)}`);
  if (side * side === perSet) parts.push(`sub-keys ${Math.floor(expert / side)} and ${expert % side}`);
  parts.push(`${whole(count)} selections`, total > 0 ? percent(count / total) : "0 %");
  $("expert").textContent = parts.join(", ");
}

function pointAt(event) {
  const canvas = $("map"), box = canvas.getBoundingClientRect();
  const {perSet, side, sets} = grid(state.layers[state.chosen]);
  const x = Math.floor((event.clientX - box.left) / box.width * canvas.width);
  const y = Math.floor((event.clientY - box.top) / box.height * canvas.height);
  const set = Math.floor(x / (side + 1)), column = x % (side + 1), expert = y * side + column;
  if (column >= side || set >= sets || y < 0 || expert >= perSet) return;
  state.cursor = set * perSet + expert;
  showMap();
  tellExpert();
}

function move(event) {
  const {side} = grid(state.layers[state.chosen]);
  const step = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -side, ArrowDown: side}[event.key];
  if (step === undefined || state.counts === null) return;
  event.preventDefault();
  const next = state.cursor === null ? 0 : state.cursor + step;
  if (next >= 0 && next < state.counts.length) state.cursor = next;
  showMap();
  tellExpert();
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);

function prepare(canvas) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * ratio;
  canvas.height = canvas.clientHeight * ratio;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return context;
}

function bars(canvas, values) {
  const context = prepare(canvas), width = canvas.clientWidth / values.length, height = canvas.clientHeight;
  const most = Math.max(1, ...values);
  context.fillStyle = colour("--bar");
  values.forEach((value, i) => {
    const bar = height * value / most;
    context.fillRect(i * width, height - bar, Math.max(width * 0.9, 1), bar);
  });
}

function curve(canvas, values) {
  const context = prepare(canvas), width = canvas.clientWidth, height = canvas.clientHeight;
  context.strokeStyle = colour("--line");
  context.beginPath();
  context.moveTo(0, height);
  context.lineTo(width, 0);
  context.stroke();
  context.strokeStyle = colour("--mark");
  context.lineWidth = 2;
  context.beginPath();
  values.forEach((value, i) => context.lineTo(width * i / (values.length - 1), height * (1 - value)));
  context.stroke();
}

function showShares(usage) {
  $("shares").replaceChildren(...(usage.shares ?? []).flatMap((share, i) => {
    const name = document.createElement("dt"), value = document.createElement("dd");
    const meter = document.createElement("meter");
    name.textContent = usage.names[i];
    meter.value = share;
    meter.setAttribute("aria-label", usage.names[i]);
    value.append(meter, ` ${percent(share)}`);
    return [name, value];
  }));
}

function showLayer() {
  const layer = state.layers[state.chosen], usage = state.usage[state.chosen];
  $("map-title").textContent = `Usage map of layer ${layer.layer} (${layer.kind})`;
  for (const file of ["png", "npy", "json"]) {
    $(file).href = address(file, layer) + (file === "png" ? `&scale=${$("scale").value}` : "");
  }
  $("map").setAttribute("aria-label", `Selections of ${whole(layer.num_experts)} experts; ` +
                                      `${percent(usage.used_ratio)} of them are used`);
  $("usage").hidden = Boolean(usage.shares);  // a handful of names says more than a map
  showMap();
  tellExpert();
  $("subkeys").hidden = !usage.rows;
  if (usage.rows) {
    bars($("rows"), usage.rows);
    bars($("columns"), usage.columns);
  }
  $("mixture").hidden = !usage.shares;
  showShares(usage);
  curve($("lorenz"), usage.lorenz);
}

async function update() {
  try {
    state.usage = await Promise.all(state.layers.map(async (layer) => (await get(address("json", layer))).json()));
    const npy = await get(address("npy", state.layers[state.chosen]));
    state.counts = parseNpy(await npy.arrayBuffer());
    showTable();
    showLayer();
    const usage = state.usage[state.chosen];
    $("state").textContent = `${whole(usage.tokens)} tokens in ${whole(Math.round(usage.end - usage.start))} s`;
  } catch (error) {
    $("state").textContent = `No answer: ${error.message}`;
  }
}

async function begin() {
  const model = await (await get("/experts/layers.json")).json();
  document.title = `Experts of ${model.model}`;
  document.querySelector("h1").textContent = document.title;
  state.layers = model.layers;
  $("window").replaceChildren(...model.windows.map((name) => new Option(name, name)));
  if (model.layers.length === 0 || model.windows.length === 0) {
    $("state").textContent = model.layers.length === 0 ? "This model has no experts."
                                                       : "The server runs with --expert-usage=off.";
    return;
  }
  $("window").addEventListener("change", update);
  $("scale").addEventListener("change", showLayer);
  $("map").addEventListener("pointermove", pointAt);
  $("map").addEventListener("keydown", move);
  window.addEventListener("resize", showLayer);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showLayer);
  let pause = PERIOD;
  while (true) {
    const begun = performance.now();
    if ($("live").checked && !document.hidden || state.counts === null) {
      await update();
      pause = Math.max(PERIOD, (performance.now() - begun) / SHARE);
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

begin().catch((error) => { $("state").textContent = `No answer: ${error.message}`; });
