// The playground: sends one prompt to this server and shows its tokens as they come, and the experts that each picked.

import {$, element, failure, getCounts, getModel, isMixture, percent, showBars, whole} from "./api.js";
import {ExpertMap} from "./map.js";

// Of the request that was sent last: tokens {text, span, picks}, the prompt's first, by position.
const state = {layers: [], window: null, tokens: [], prompt: 0, chosen: null, following: true, stop: null};
let map;

const layer = () => state.layers[$("layer").selectedIndex];

// What a token picked in the layer that is shown: [{expert, head, weight}], heaviest first.
function picksOf(token) {
  if (!token?.picks) return [];
  const {ids, weights, offset} = token.picks[$("layer").selectedIndex], {heads, top_k: each} = layer();
  const picks = Array.from({length: heads * each}, (_, i) => ({expert: ids[offset + i], head: Math.floor(i / each),
                                                               weight: weights[offset + i]}));
  return picks.sort((a, b) => b.weight - a.weight);
}

function visible(text) {
  return text === "" ? "·" : text.replaceAll("\n", "↵\n");
}

function addToken(text, isPrompt) {
  const index = state.tokens.length;
  const span = element("span", {id: `token-${index}`, role: "option", textContent: visible(text),
                                className: isPrompt ? "prompt" : ""});
  span.setAttribute("aria-selected", "false");
  span.addEventListener("click", () => choose(index, {byHand: true}));
  state.tokens.push({text, span, picks: null});
  const list = $("tokens"), atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.append(span);
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function choose(index, {byHand}) {
  if (byHand) state.following = false;
  state.tokens[state.chosen]?.span.setAttribute("aria-selected", "false");
  state.chosen = index;
  const {span} = state.tokens[index];
  span.setAttribute("aria-selected", "true");
  $("tokens").setAttribute("aria-activedescendant", span.id);
  if (byHand) span.scrollIntoView({block: "nearest"});
  showToken();
}

function showToken() {
  const token = state.tokens[state.chosen];
  if (!token || state.layers.length === 0) return;
  const picks = picksOf(token);
  const which = `Token ${state.chosen}${state.chosen < state.prompt ? " of the prompt" : ""}, ${JSON.stringify(token.text)}`;
  const isLast = state.chosen === state.tokens.length - 1;
  $("token").textContent = picks.length > 0
    ? `${which}: ${new Set(picks.map((pick) => pick.expert)).size} experts in layer ${layer().layer} (${layer().kind})`
    : `${which}: no experts${isLast ? "; the last token is not computed any more" : " are known"}`;
  const lit = new Map();
  for (const {expert, weight} of picks) lit.set(expert, (lit.get(expert) ?? 0) + weight);
  if (isMixture(layer())) {
    showBars($("shares"), layer().names, layer().names.map((_, id) => lit.get(id) ?? 0));
  } else {
    map.light(lit);
  }
  $("picks").tBodies[0].replaceChildren(...picks.map(({expert, head, weight}) => element("tr", {},
    element("td", {textContent: layer().names?.[expert] ?? expert}), element("td", {textContent: head}),
    element("td", {textContent: weight.toPrecision(3)}))));
}

function step(event) {
  const at = state.chosen ?? -1, last = state.tokens.length - 1;
  const next = {ArrowLeft: at - 1, ArrowUp: at - 1, ArrowRight: at + 1, ArrowDown: at + 1, Home: 0, End: last}[event.key];
  if (next === undefined || last < 0) return;
  event.preventDefault();
  choose(Math.min(Math.max(next, 0), last), {byHand: true});
}

// The events of playground.h.
const EVENTS = {
  prompt(tokens, {seed}) {
    state.prompt = tokens.length;
    for (const {text} of tokens) addToken(text, true);
    $("state").textContent = `${tokens.length} tokens of the prompt, seed ${seed}: waiting for the first token`;
  },
  delta({ids, text}) {
    ids.forEach((_, i) => addToken(i === ids.length - 1 ? text : "", false));
    $("state").textContent = `${whole(state.tokens.length - state.prompt)} tokens`;
  },
  picks({first_position: first, tokens, layers}) {
    for (let i = 0; i < tokens; ++i) {
      state.tokens[first + i].picks = layers.map(({ids, weights}) => ({ids, weights, offset: i * ids.length / tokens}));
    }
    if (state.following) choose(first + tokens - 1, {byHand: false});
    else if (state.chosen >= first && state.chosen < first + tokens) showToken();
  },
  finished({reason, tokens, first_token_seconds: first, decode_seconds: decode}) {
    const rate = decode > 0 ? `, ${((tokens - 1) / decode).toFixed(1)} a second` : "";
    $("state").textContent = `${whole(tokens)} tokens${rate}, the first after ${first.toFixed(3)} s; ended by ` +
                             reason.replaceAll("_", " ");
    state.ended = true;
  },
  error({message}) {
    throw new Error(message);
  },
};

function take(line) {
  const event = JSON.parse(line), name = Object.keys(event)[0];
  EVENTS[name]?.(event[name], event);
}

function request() {
  return {
    prompt: {text: $("prompt").value},
    sampling: {temperature: $("temperature").valueAsNumber, ...($("seed").value === "" ? {} : {seed: $("seed").value})},
    stopping: {max_tokens: $("max-tokens").valueAsNumber},
    output: {expert_trace: $("traced").checked ? "EXPERT_TRACE_LEVEL_FULL" : "EXPERT_TRACE_LEVEL_UNSPECIFIED"},
  };
}

async function answer(signal) {
  const response = await fetch("/playground/generate", {
    method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(request()), signal});
  if (!response.ok) throw await failure(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const lines = (rest + part.value).split("\n");
    rest = lines.pop();
    lines.forEach(take);
  }
  if (!state.ended) throw new Error("the server ended the connection");
}

async function run(event) {
  event.preventDefault();
  if (state.stop !== null) return;
  Object.assign(state, {tokens: [], chosen: null, following: true, ended: false, stop: new AbortController()});
  $("tokens").replaceChildren();
  $("tokens").removeAttribute("aria-activedescendant");
  $("picks").tBodies[0].replaceChildren();
  $("token").textContent = "";
  $("wrong").textContent = "";
  $("state").textContent = "Sent";
  map.light(new Map());
  [$("run").disabled, $("stop").disabled] = [true, false];
  try {
    await answer(state.stop.signal);
  } catch (error) {
    const stopped = error.name === "AbortError";
    $("state").textContent = stopped ? `Stopped after ${whole(Math.max(0, state.tokens.length - state.prompt))} tokens` : "";
    if (!stopped) $("wrong").textContent = error.message;
  }
  state.stop = null;
  [$("run").disabled, $("stop").disabled] = [false, true];
  await showLayer();
}

function tellExpert() {
  if (map.cursor === null) return;
  const pick = picksOf(state.tokens[state.chosen]).find(({expert}) => expert === map.cursor);
  const weight = pick ? `weight ${pick.weight.toPrecision(3)} for this token` : "not of this token";
  $("expert").textContent = `${map.grid.describe(map.cursor, layer().names)}: ${weight}, ` +
                            `${whole(state.counts[map.cursor])} selections so far`;
}

// The counts behind the lit experts, where the server keeps any.
async function showLayer() {
  if (state.layers.length === 0) return;
  const mixture = isMixture(layer());
  $("experts").hidden = false;
  $("map-part").hidden = mixture;
  $("shares").hidden = !mixture;
  $("experts-title").textContent = `Experts of layer ${layer().layer} (${layer().kind})`;
  if (!mixture) {
    $("map").setAttribute("aria-label", `Map of ${whole(layer().num_experts)} experts; arrow keys go from one to the next`);
    state.counts = state.window === null ? new Float64Array(layer().num_experts) : await getCounts(layer(), state.window);
    map.show(layer(), state.counts, "log");
  }
  showToken();
}

async function begin() {
  const model = await getModel();
  document.title = `Playground of ${model.model}`;
  document.querySelector("h1").textContent = document.title;
  Object.assign(state, {layers: model.layers, window: model.windows.at(-1) ?? null});
  $("layer").replaceChildren(...model.layers.map((one) => new Option(`${one.layer} (${one.kind})`)));
  map = new ExpertMap($("map"), tellExpert);
  const allowed = model.expert_trace === "full" && model.layers.length > 0;
  $("traced").checked = allowed;
  $("traced-choice").hidden = $("layer-choice").hidden = $("tokens-note").hidden = !allowed;
  $("untraced").hidden = allowed;
  $("untraced").textContent = model.layers.length === 0
    ? "This model has no experts: tokens come alone."
    : `Tokens come without their experts: the server allows no full traces (it runs with ` +
      `--expert-trace=${model.expert_trace}; --expert-trace=full shows them).`;
  $("state").textContent = "Type a prompt; Ctrl+Enter sends it.";
  $("ask").addEventListener("submit", run);
  $("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("ask").requestSubmit();
  });
  $("stop").addEventListener("click", () => state.stop?.abort());
  $("tokens").addEventListener("keydown", step);
  $("layer").addEventListener("change", showLayer);
  $("choices").addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("resize", () => map.draw());
  if (allowed) await showLayer();
}

begin().catch((error) => {
  $("state").textContent = "";
  $("wrong").textContent = error.message;
});
