// The page of expert usage: everything that it shows comes from /experts/*.json and .npy of this server.

import {$, element, getCounts, getModel, getUsage, isMixture, nameOf, percent, showBars, usageAddress, whole} from "./api.js";
import {bars, colourOf, history, lorenz, SERIES} from "./charts.js";
import {drawLegend, ExpertMap} from "./map.js";

const PERIOD = 5000;   // ms between two looks, at least
const SHARE = 0.02;    // of the time that looking may take: a million experts are work for the server
const SAMPLES = 240;   // of a mixture's shares that are kept, the latest
const state = {layers: [], usage: [], chosen: 0, counts: null, histories: [], looks: 0};
let map;

function showTable() {
  const rows = state.layers.map((layer, i) => {
    const usage = state.usage[i], chosen = i === state.chosen;
    const button = element("button", {type: "button", textContent: layer.layer});
    button.setAttribute("aria-label", `Show layer ${layer.layer}, ${layer.kind}`);
    button.setAttribute("aria-pressed", chosen);
    const cells = [layer.kind, whole(layer.num_experts), whole(usage.selections), percent(usage.used_ratio),
                   percent(usage.used_expected_ratio), usage.unevenness_nats.toFixed(3),
                   usage.unevenness_expected_nats.toFixed(3), whole(Math.round(usage.effective_experts)),
                   usage.gini.toFixed(3), layer.num_experts < 100 ? "-" : percent(usage.top_shares[1]),
                   usage.drift_nats?.toFixed(3) ?? "-"];
    const row = element("tr", {className: chosen ? "chosen" : ""}, element("td", {}, button),
                        ...cells.map((text) => element("td", {textContent: text})));
    row.addEventListener("click", () => choose(i));
    return row;
  });
  const focused = [...document.querySelectorAll("#layers button")].indexOf(document.activeElement);
  $("layers").tBodies[0].replaceChildren(...rows);
  if (focused >= 0) document.querySelectorAll("#layers button")[focused]?.focus();
}

function choose(index) {
  state.chosen = index;
  map.cursor = null;
  return update();
}

function tellExpert() {
  const id = map.cursor, layer = state.layers[state.chosen], usage = state.usage[state.chosen];
  if (id === null) {
    $("expert").textContent = "Point at an expert, or move with the arrow keys.";
  } else {
    const count = state.counts[id], share = usage.selections > 0 ? count / usage.selections : 0;
    $("expert").textContent = `${map.grid.describe(id, layer.names)}: ${whole(count)} selections, ${percent(share)}`;
  }
  showSubKeys(usage);
}

// `pointed`: a sub-key by axis that somebody points at, in place of that of the map's cursor.
function showSubKeys(usage, pointed = {}) {
  $("subkeys").hidden = !usage.rows;
  if (!usage.rows) return;
  const expert = map.cursor === null ? null : map.cursor % map.grid.perSet, {side} = map.grid;
  const marks = expert === null ? {} : {rows: Math.floor(expert / side), columns: expert % side};
  for (const [axis, which] of [["rows", "first"], ["columns", "second"]]) {
    const values = usage[axis], mark = pointed[axis] ?? marks[axis] ?? null;
    bars($(axis), values, mark);
    const dead = values.filter((value) => value === 0).length;
    const parts = [`selections by ${which} sub-key, at most ${whole(Math.max(...values))}`,
                   `${dead === 0 ? "none" : whole(dead)} of ${whole(values.length)} unused`];
    if (mark !== null) parts.push(`sub-key ${mark}: ${whole(values[mark])}`);
    $(`${axis}-note`).textContent = parts.join("; ");
  }
}

function pointAtSubKeys(axis) {
  const usage = () => state.usage[state.chosen];
  $(axis).addEventListener("pointermove", (event) => {
    const box = $(axis).getBoundingClientRect(), count = usage().rows.length;
    const at = Math.floor((event.clientX - box.left) / box.width * count);
    showSubKeys(usage(), {[axis]: Math.min(Math.max(at, 0), count - 1)});
  });
  $(axis).addEventListener("pointerleave", () => showSubKeys(usage()));
}

function showHottest(layer, usage) {
  const rows = usage.hottest.map(({id, name, selections, share}) => {
    const button = element("button", {type: "button", textContent: name ?? id});
    button.setAttribute("aria-label", `Show expert ${name ?? id} on the map`);
    button.addEventListener("click", () => map.moveTo(id));
    return element("tr", {}, element("td", {}, name === undefined ? button : name),
                   element("td", {textContent: whole(selections)}), element("td", {textContent: percent(share)}));
  });
  const focused = [...document.querySelectorAll("#hottest button")].indexOf(document.activeElement);
  $("hottest").tBodies[0].replaceChildren(...rows);
  if (focused >= 0) document.querySelectorAll("#hottest button")[focused]?.focus();
}

// Each look adds how the tokens since the one before were shared.
function remember(usages) {
  usages.forEach((usage, i) => {
    if (!usage.scores_since_start) return;
    const kept = state.histories[i] ??= {points: [], sums: null};
    const {sums} = kept, now = usage.scores_since_start;
    const added = sums === null ? now : now.map((sum, expert) => sum - sums[expert]);
    const all = added.reduce((a, b) => a + b, 0);
    kept.sums = now;
    if (all <= 0) return;
    kept.points.push({time: usage.end, parts: added.map((part) => part / all)});
    kept.points.splice(0, kept.points.length - SAMPLES);
  });
}

function showHistory(usage) {
  const points = state.histories[state.chosen]?.points ?? [];
  history($("history"), points);
  $("history-note").textContent = points.length < 2
    ? "The first point is of all tokens since the start; each further one of those since the point before."
    : `${points.length} points, each of the tokens since the one before`;
  $("series").replaceChildren(...usage.names.map((name, i) => {
    const swatch = element("canvas", {width: 24, height: 12, ariaHidden: "true"});
    const latest = points.at(-1)?.parts[i];
    const item = element("li", {}, swatch, latest === undefined ? nameOf(name) : `${nameOf(name)} ${percent(latest)}`);
    $("series").append(item);  // colours are known in the document only
    const context = swatch.getContext("2d");
    context.strokeStyle = colourOf(swatch, `--series-${i % SERIES}`);
    context.lineWidth = 3;
    context.setLineDash(i < SERIES ? [] : [5, 3]);
    context.beginPath();
    context.moveTo(0, 6);
    context.lineTo(24, 6);
    context.stroke();
    return item;
  }));
}

function showLayer() {
  const layer = state.layers[state.chosen], usage = state.usage[state.chosen], mixture = isMixture(layer);
  $("map-title").textContent = `${mixture ? "Mixture" : "Usage map"} of layer ${layer.layer} (${layer.kind})`;
  for (const file of ["png", "npy", "json"]) {
    const scale = file === "png" ? `&scale=${$("scale").value}` : "";
    $(file).href = usageAddress(file, layer, $("window").value) + scale;
  }
  $("usage").hidden = mixture;  // a handful of names says more than a map
  $("mixture").hidden = !mixture;
  map.show(layer, state.counts, $("scale").value);
  $("map").setAttribute("aria-label", `Map of the selections of ${whole(layer.num_experts)} experts, ` +
                                      `${percent(usage.used_ratio)} of them used; arrow keys go from one to the next`);
  $("most").textContent = `${whole(map.most)} selections (${$("scale").selectedOptions[0].textContent})`;
  tellExpert();
  showHottest(layer, usage);
  if (mixture) {
    showHistory(usage);
    showBars($("shares"), usage.names, usage.shares);
  }
  lorenz($("lorenz"), usage.lorenz);
}

async function update() {
  const look = ++state.looks, name = $("window").value;
  try {
    const usages = await Promise.all(state.layers.map((layer) => getUsage(layer, name)));
    const counts = await getCounts(state.layers[state.chosen], name);
    if (look !== state.looks) return;  // somebody has chosen something else in the meantime
    remember(usages);
    Object.assign(state, {usage: usages, counts});
    $("content").hidden = false;
    showTable();
    showLayer();
    const usage = usages[state.chosen], seconds = whole(Math.round(usage.end - usage.start));
    $("state").textContent = `${whole(usage.tokens)} tokens in ${seconds} s`;
    $("state").className = "";
  } catch (error) {
    if (look !== state.looks) return;
    $("state").textContent = `No answer: ${error.message}`;
    $("state").className = "wrong";
  }
}

// Looks again and again while the page is seen, less often when a look takes long.
async function follow() {
  while (true) {
    const begun = performance.now();
    if ($("live").checked && !document.hidden || state.counts === null) await update();
    const pause = Math.max(PERIOD, (performance.now() - begun) / SHARE);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

async function begin() {
  const model = await getModel();
  document.title = `Experts of ${model.model}`;
  document.querySelector("h1").textContent = document.title;
  state.layers = model.layers;
  $("window").replaceChildren(...model.windows.map((name) => new Option(name, name)));
  if (model.layers.length === 0 || model.windows.length === 0) {
    $("choices").hidden = true;
    $("state").textContent = model.layers.length === 0 ? "This model has no experts."
                                                       : "The server runs with --expert-usage=off.";
    return;
  }
  map = new ExpertMap($("map"), tellExpert);
  drawLegend($("legend"));
  ["rows", "columns"].forEach(pointAtSubKeys);
  $("choices").addEventListener("submit", (event) => event.preventDefault());
  $("window").addEventListener("change", update);
  $("live").addEventListener("change", () => { if ($("live").checked) update(); });
  const redraw = () => { if (state.counts !== null) showLayer(); };
  $("scale").addEventListener("change", redraw);
  window.addEventListener("resize", redraw);
  document.addEventListener("themechange", redraw);
  await follow();
}

begin().catch((error) => {
  $("state").textContent = `No answer: ${error.message}`;
  $("state").className = "wrong";
});
