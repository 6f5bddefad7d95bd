// What the page does: ask the server for text, show it token by token as it comes, and show what
// else could have come. All text of the model becomes `textContent`, never HTML.
"use strict";

const $ = (id) => document.getElementById(id);

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// ------------------------------------------------------------ settings

const SLIDERS = [
  // name in the request, label, hint, least, most, step, at first
  ["max_new_tokens", "Length", "tokens", 1, 500, 1, 200],
  ["temperature", "Temperature", "below 1: safer", 0.05, 2, 0.05, 0.8],
  ["top_k", "Top-k", "0: all", 0, 100, 1, 0],
  ["top_p", "Top-p", "1: all", 0.01, 1, 0.01, 1],
  ["min_p", "Min-p", "0: all", 0, 1, 0.01, 0],
  ["repetition_penalty", "Repetition penalty", "1: none", 1, 2, 0.05, 1],
];

// A slider and a number that follow each other.
function addSlider([name, label, hint, min, max, step, value]) {
  const number = make("input", { type: "number", id: name, min, step, value });
  const range = make("input", { type: "range", id: name + "_slider", min, max, step, value });
  range.ariaLabel = label + ", slider";
  range.addEventListener("input", () => (number.value = range.value));
  number.addEventListener("input", () => (range.value = number.value));
  const heading = make("label", { htmlFor: name }, label + " ", make("small", {}, hint));
  const inputs = make("div", { className: "slider" }, range, number);
  $("seed").parentElement.before(make("div", { className: "setting" }, heading, inputs));
}

function settings() {
  const asked = { alternatives: 10, greedy: $("greedy").checked, stop: $("stop_text").value || null };
  for (const [name] of SLIDERS) asked[name] = numberIn(name);
  asked.seed = numberIn("seed");
  asked.top_k ||= null; // 0 is no limit
  return asked;
}

function shorten(most) {
  const length = Math.min($("max_new_tokens").value, most);
  $("max_new_tokens").value = $("max_new_tokens_slider").value = length;
}

function numberIn(id) {
  const number = $(id).valueAsNumber;
  return Number.isNaN(number) ? null : number;
}

// ------------------------------------------------------------ asking

let info = {}; // about the model
let stopper = null; // while text is written: what stops it
let messages = []; // of a chat: {role, content}
let before = ""; // the text in front of the next token

const chatting = () => $("form").elements.mode.value === "messages";

async function generate(event) {
  event?.preventDefault();
  if (stopper) return;
  const said = $("prompt").value;
  $("error").textContent = "";
  if (!said) return fail("The prompt is empty; what should the text begin with?");
  const place = chatting() ? beginAnswer(said) : beginText(said);
  const asked = { ...settings(), ...(chatting() ? { messages } : { prompt: said }) };
  const answer = { role: "assistant", content: "" };
  stopper = new AbortController();
  busy(true);
  try {
    const end = await write(chatting() ? "chat" : "generate", asked, place, answer);
    $("status").textContent = { stop: "Ended:", length: "Length reached:" }[end.reason] ?? "Broke off:";
    $("speed").textContent = speed(end.tokens, end.seconds) + ", seed " + end.seed;
    if (end.error) fail(end.error);
  } catch (error) {
    const stopped = error.name === "AbortError";
    $("status").textContent = stopped ? "Stopped:" : "";
    if (!stopped) fail(error instanceof TypeError ? "The server does not answer; is it running?" : error.message);
  }
  stopper = null;
  busy(false);
  if (chatting()) endAnswer(said, answer);
}

// Ask, and show every token that comes; the last line of the answer is returned.
async function write(address, asked, place, answer) {
  const began = performance.now();
  const response = await fetch(address, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(asked),
    signal: stopper.signal,
  });
  if (!response.ok) throw new Error((await response.json()).error);
  let count = 0;
  for await (const pieces of piecesOf(response.body)) {
    const end = pieces.at(-1)?.done ? pieces.pop() : null;
    addTokens(place, pieces);
    answer.content += pieces.map((piece) => piece.text).join("");
    count += pieces.length;
    $("speed").textContent = speed(count, (performance.now() - began) / 1000);
    if (end) return end;
    // Let the window be drawn and Stop be heard; a hidden window would wait for seconds.
    if (!document.hidden) await new Promise((resume) => setTimeout(resume, 15));
  }
  throw new Error("The answer broke off; is the server still running?");
}

// The tokens of an answer, as many at once as have come.
async function* piecesOf(stream) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = lines.pop(); // the beginning of the next
    yield lines.map((line) => JSON.parse(line));
  }
}

const speed = (tokens, seconds) =>
  `${tokens} tokens, ${(tokens / Math.max(seconds, 0.001)).toFixed(0)} tokens/s`;

function fail(text) {
  const words = text.replace(/^\[\w+\] /, ""); // which function complains is of no use here
  $("error").textContent = words[0].toUpperCase() + words.slice(1);
}

function busy(now) {
  $("stop").disabled = !now;
  $("generate").disabled = $("forget").disabled = $("modes").disabled = now;
  $("alternatives").ariaBusy = now;
  if (now) $("status").textContent = "Writing:";
}

// ------------------------------------------------------------ where text goes

function beginText(prompt) {
  $("output").replaceChildren(make("span", { className: "prompt", textContent: prompt }));
  following = true;
  before = prompt;
  return $("output");
}

function beginAnswer(said) {
  messages = [...messages, { role: "user", content: said }];
  const place = make("div", { className: "message assistant", role: "group" });
  $("output").append(make("div", { className: "message user", textContent: said }), place);
  following = true;
  before = "";
  return place;
}

// Keep what was answered; where there is nothing, the question is as if it had not been asked.
function endAnswer(said, answer) {
  if (answer.content) {
    messages.push(answer);
    $("prompt").value = "";
    return;
  }
  messages.pop();
  [...$("output").children].slice(-2).forEach((element) => element.remove());
}

function startAnew() {
  messages = [];
  if (chatting() && info.block_size) shorten(Math.floor(info.block_size / 2)); // room to ask
  $("output").replaceChildren();
  $("next").hidden = true;
  $("forget").hidden = !chatting();
  $("prompt-label").textContent = chatting() ? "Message" : "Prompt";
  $("status").textContent = $("speed").textContent = $("error").textContent = "";
}

function addTokens(place, pieces) {
  const output = $("output");
  const atEnd = output.scrollHeight - output.scrollTop - output.clientHeight < 40;
  const tokens = pieces.map(tokenOf);
  place.append(...tokens);
  const last = tokens.findLast((token) => token.piece);
  if (following && last) show(last);
  if (atEnd) output.scrollTop = output.scrollHeight;
}

function tokenOf(piece) {
  const token = make("span", { textContent: piece.text });
  if (piece.id !== null) { // else it is the rest of tokens that were held back
    token.className = "token" + (piece.text ? "" : " empty");
    if (piece.text.includes("\n")) token.classList.add("newline");
    token.style.setProperty("--p", Math.exp(piece.logprob));
    token.role = "option";
    token.ariaLabel = visible(piece.text) + ", " + percent(piece.logprob);
    token.tabIndex = -1;
    token.piece = piece;
    token.before = before.slice(-24);
  }
  before += piece.text;
  return token;
}

// ------------------------------------------------------------ what else could have come

let following = true; // whether the newest token is shown, until the reader points to one
let shown = null;

function show(token) {
  if (shown) {
    shown.classList.remove("shown");
    shown.tabIndex = -1;
    shown.ariaSelected = "false";
  }
  shown = token;
  token.classList.add("shown");
  token.tabIndex = 0; // Tab comes back to it
  token.ariaSelected = "true";
  const { text, id, logprob, top } = token.piece;
  const rows = top.map(([what, value]) => ({ what, value, chosen: false }));
  const chosen = rows.find((row) => row.value === logprob && (!text || row.what === text));
  if (chosen) chosen.chosen = true;
  else rows.push({ what: text || "token " + id, value: logprob, chosen: true });
  $("place").textContent = visible(token.before);
  $("alternatives").replaceChildren(...rows.map(alternative));
  $("next").hidden = false;
}

function alternative({ what, value, chosen }) {
  const row = make(
    "li",
    { className: chosen ? "chosen" : "", title: visible(what) },
    make("span", { className: "what", textContent: visible(what) }),
    make("span", { className: "share", textContent: percent(value) }),
  );
  row.style.setProperty("--p", Math.exp(value));
  return row;
}

const NAMES = { " ": "␣", "\n": "↵", "\t": "⇥", "": "(nothing yet)" };
const visible = (text) => NAMES[text] ?? text.replace(/[\n\t]/g, (c) => NAMES[c]);

function percent(logprob) {
  const p = 100 * Math.exp(logprob);
  return p < 0.1 ? "<0.1%" : p.toFixed(p < 9.95 ? 1 : 0) + "%";
}

function point(event) {
  const token = event.target.closest(".token");
  if (!token) return;
  following = false;
  show(token);
}

// Arrow keys go from token to token, Home and End to the first and the last.
function step(event) {
  const tokens = [...$("output").querySelectorAll(".token")];
  const at = tokens.indexOf(event.target);
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: tokens.length - 1 }[event.key];
  if (at < 0 || to === undefined) return;
  event.preventDefault();
  tokens[to]?.focus();
}

function keys(event) {
  if (event.key === "Escape") stopper?.abort();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) generate(event);
}

async function start() {
  SLIDERS.forEach(addSlider);
  if (matchMedia("(max-width: 50rem)").matches) $("settings").open = false;
  $("form").addEventListener("submit", generate);
  $("form").addEventListener("keydown", keys);
  $("stop").addEventListener("click", () => stopper?.abort());
  $("forget").addEventListener("click", startAnew);
  $("modes").addEventListener("change", startAnew);
  for (const kind of ["pointerover", "focusin", "click"]) $("output").addEventListener(kind, point);
  $("output").addEventListener("keydown", step);
  info = await (await fetch("info")).json();
  if (info.name) document.title = $("name").textContent = info.name;
  $("facts").textContent = [
    [info.parameters, "parameters"],
    [info.vocabulary_size, "tokens in the vocabulary"],
    [info.block_size, "in the context"],
  ].flatMap(([n, what]) => (n ? n.toLocaleString("en") + " " + what : [])).join(", ");
  $("max_new_tokens_slider").max = info.max_new_tokens;
  shorten(info.max_new_tokens);
  $("modes").hidden = !info.chat;
}

start();
