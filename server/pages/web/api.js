// What both pages ask of the server, and how they write numbers.

export const $ = (id) => document.getElementById(id);

export const percent = (x) => `${(100 * x).toFixed(1)} %`;
export const whole = (x) => x.toLocaleString("en");

export async function failure(response) {
  return new Error((await response.text()).trim() || `${response.status} ${response.statusText}`);
}

async function get(path) {
  const response = await fetch(path);
  if (!response.ok) throw await failure(response);
  return response;
}

// The model's name, its expert layers, the windows that are kept, the traces that are allowed.
export async function getModel() {
  return (await get("/experts/layers.json")).json();
}

export function usageAddress(file, layer, window) {
  return `/experts/usage.${file}?${new URLSearchParams({layer: layer.layer, kind: layer.kind, window})}`;
}

export async function getUsage(layer, window) {
  return (await get(usageAddress("json", layer, window))).json();
}

// How often each expert was selected. NumPy's format 1.0: magic, version, length of the header, header, values.
export async function getCounts(layer, window) {
  const buffer = await (await get(usageAddress("npy", layer, window))).arrayBuffer();
  const values = new Float64Array(buffer, 10 + new DataView(buffer).getUint16(8, true));
  return values.subarray(0, values.length / 2);
}

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Experts that the model does not name are called by their number.
export const nameOf = (name) => /^\d+$/.test(name) ? `expert ${name}` : name;

export const isMixture = (layer) => layer.kind.startsWith("mixture");

// Names and their parts of 1, as bars with figures.
export function showBars(list, names, parts) {
  list.replaceChildren(...names.flatMap((name, i) => [
    element("dt", {textContent: nameOf(name)}),
    element("dd", {}, element("meter", {value: parts[i] ?? 0, ariaLabel: nameOf(name)}), ` ${percent(parts[i] ?? 0)}`),
  ]));
}
