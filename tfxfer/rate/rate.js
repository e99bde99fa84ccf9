// The rating page. Texts come from `data` and are set as text, never as HTML. Ratings are kept in this browser until the
// server has them on disk; in a page without a server, until the file with them is saved.
"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const items = data.items, choice = data.ask === "choice", scales = data.scales;
const byId = new Map(items.map(item => [item.id, item]));
let rater = "", answers = new Map(), waiting = [], later = new Set(), at = null, draft = {}, active = 0, since = 0;
let sending = false, timer = 0, unsaved = false, stopped = "", memory = true;

// === Kept in this browser ===

const slot = () => `tfxfer-rate-${data.session}-${rater}`;
function keep() {
  try {
    localStorage.setItem(slot(), JSON.stringify(data.post ? { waiting } : { answers: [...answers.values()] }));
  } catch { memory = false; }
}
function kept() {
  try { return JSON.parse(localStorage.getItem(slot())) || {}; } catch { return {}; }
}

// === The server ===

async function fetched(options) {
  const address = options ? data.post : `${data.post}?rater=${encodeURIComponent(rater)}`;
  const reply = await fetch(address, { credentials: "omit", cache: "no-store", ...options });
  let body = {};
  try { body = await reply.json(); } catch { /* an answer of something else than our server */ }
  if (!reply.ok) throw Object.assign(new Error(body.error || `the server answered ${reply.status}`), { status: reply.status, refused: [400, 413, 415, 422].includes(reply.status) });
  return body;
}

async function send() {
  if (!data.post || sending || !waiting.length) return;
  sending = true;
  clearTimeout(timer);
  status("saving …");
  const part = waiting.slice(0, 20);
  try {
    await fetched({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ rater, answers: part }) });
    waiting = waiting.slice(part.length);
    keep();
    banner("");
    status("saved ✓");
    if (!at && !$("done").hidden) finished();
  } catch (error) {
    if (error.refused) waiting = waiting.slice(part.length);
    const why = error instanceof TypeError ? "the server does not answer"
      : error.status === 404 ? "the server was started anew, so open the address that it shows now" : error.message;
    banner(error.refused ? `Not accepted: ${why}` :
      `Not saved yet: ${why}. ${count(waiting.length, "rating")} kept in this browser; trying again. You may go on. ` +
      "If the server does not come back, save a file under “?” and send it to whoever asked you.");
    status("not saved");
    timer = setTimeout(send, 3000);
  }
  sending = false;
  if (waiting.length && $("banner").hidden) send();
}

// === Ratings ===

function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map(byte => byte.toString(16).padStart(2, "0")).join("");
}
function push(event) {
  if (event.undo) answers.delete(event.item);
  else { answers.delete(event.item); answers.set(event.item, event); }
  unsaved = true;
  if (data.post) waiting.push(event); else status(memory ? "kept in this browser" : "kept until you close the page");
  keep();
  send();
}
function complete() {
  return choice ? "choice" in draft : shownOf(at).every(id => scales.every(scale => draft[id]?.[scale.name]));
}
function submit() {
  if (at === null) return;
  if (!complete()) return missing();
  const event = { key: newKey(), item: at.id, shown: shownOf(at), milliseconds: Math.min(Date.now() - since, 86400000) };
  if (choice) event.choice = draft.choice; else event.scores = draft;
  later.delete(at.id);
  push(event);
  show(nextOpen());
}
function undo() {
  const last = [...answers.keys()].pop();
  if (last === undefined) return status("nothing to undo");
  const before = answers.get(last);
  push({ key: newKey(), item: last, milliseconds: 0, undo: true });
  show(byId.get(last), choice ? {} : structuredClone(before.scores));
}
function nextOpen() {
  const open = items.filter(item => !answers.has(item.id));
  return open.find(item => !later.has(item.id)) || open[0] || null;
}
function skip() {
  if (!at) return;
  later.delete(at.id);
  later.add(at.id);
  const open = items.filter(item => !answers.has(item.id));
  const next = open.find(item => !later.has(item.id)) || byId.get([...later].find(id => !answers.has(id)));
  show(next);
}
// The order of the texts depends on the rater and the item alone, so that it is the same after a reload.
function shownOf(item) {
  const order = text => [...text].reduce((sum, letter) => Math.imul(sum ^ letter.codePointAt(0), 16777619) >>> 0, 2166136261);
  const mixed = text => { let n = order(text); n ^= n >>> 15; n = Math.imul(n, 2246822519); n ^= n >>> 13; return n >>> 0; };
  return item.candidates.map(one => one.id).sort((a, b) => mixed(`${rater}\n${a}`) - mixed(`${rater}\n${b}`) || (a < b ? -1 : 1));
}

// === What is shown ===

const capital = text => text[0].toUpperCase() + text.slice(1);
const count = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
function status(text) { $("saved").textContent = text; }
function banner(text) {
  stopped = text;
  for (const id of ["banner", "done-banner"]) { $(id).textContent = text; $(id).hidden = !text; }
}
function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}
function page(id) { for (const each of ["start", "work", "done"]) $(each).hidden = each !== id; }

function show(item, given) {
  at = item;
  draft = given || {};
  active = 0;
  since = Date.now();
  const n = items.filter(one => answers.has(one.id)).length;
  $("count").textContent = `${n} of ${items.length} rated`;
  $("progress").setAttribute("aria-valuemax", items.length);
  $("progress").setAttribute("aria-valuenow", n);
  $("progress").firstElementChild.style.width = `${100 * n / items.length}%`;
  if (!item) return finished();
  page("work");
  $("undo").disabled = !answers.size;
  $("next").hidden = choice;
  $("screen").classList.toggle("plain", !item.image && !item.text);
  $("image").hidden = !item.image;
  if (item.image) $("image").src = item.image; else $("image").removeAttribute("src");
  for (const [id, text] of [["text", item.text], ["question", item.question]]) { $(id).textContent = text; $(id).hidden = !text; }
  $("candidates").replaceChildren(...(choice ? picks(item) : cards(item)));
  refresh();
  window.scrollTo(0, 0);
}
function textOf(item, id) { return item.candidates.find(one => one.id === id).text; }

function cards(item) {
  return shownOf(item).map((id, place) => {
    const card = make("section", "candidate"), text = make("p");
    if (item.candidates.length > 1) text.append(make("span", "letter", "ABCDEFGH"[place] || place + 1));
    const words = make("span", "", textOf(item, id) || "(no text)");
    words.dir = "auto";
    text.append(words);
    card.append(text);
    for (const scale of scales) card.append(row(id, scale));
    return card;
  });
}
function row(id, scale) {
  const line = make("div", "scale"), name = make("div"), steps = make("div", "steps"), ends = make("div", "ends");
  line.dataset.candidate = id;
  line.dataset.scale = scale.name;
  name.append(make("b", "", capital(scale.name)), make("small", "", scale.question));
  line.setAttribute("role", "radiogroup");
  line.setAttribute("aria-label", `${scale.name}: ${scale.question} 1 ${scale.low}, 5 ${scale.high}`);
  line.addEventListener("focus", () => { active = rows().indexOf(line); refresh(); });
  for (let value = 1; value <= 5; value++) {
    const step = make("button", "", value);
    step.type = "button";
    step.tabIndex = -1;
    step.setAttribute("role", "radio");
    step.dataset.value = value;
    step.addEventListener("click", () => { active = rows().indexOf(line); set(value); });
    steps.append(step);
  }
  ends.append(make("span", "", scale.low), make("span", "", scale.high));
  line.append(name, steps, ends);
  return line;
}
function picks(item) {
  const found = shownOf(item).map((id, place) => pick(id, "", textOf(item, id) || "(no text)", String(place + 1)));
  return [...found, pick("tie", "tie", "About equally good", "0")];
}
function pick(value, kind, text, key) {
  const button = make("button", `pick ${kind}`), words = make("span", "", text);
  button.type = "button";
  words.dir = "auto";
  button.append(words, make("kbd", "", key));
  button.addEventListener("click", () => choose(value));
  button.dataset.value = value;
  return button;
}
const rows = () => [...document.querySelectorAll(".scale")];

function refresh() {
  rows().forEach((line, place) => {
    const value = draft[line.dataset.candidate]?.[line.dataset.scale];
    line.classList.toggle("active", place === active);
    line.classList.remove("missing");
    line.tabIndex = 0;
    for (const step of line.querySelectorAll("button"))
      step.setAttribute("aria-checked", String(Number(step.dataset.value) === value));
  });
  if (!choice) $("next").classList.toggle("ready", complete());
}
function focusRow() {
  const line = rows()[active];
  if (!line) return;
  line.focus({ preventScroll: true });
  const card = line.closest(".candidate");
  (card.offsetHeight < window.innerHeight * .55 ? card : line).scrollIntoView({ block: "nearest" });
}
function set(value, ahead = true) {
  const line = rows()[active];
  if (!line) return;
  (draft[line.dataset.candidate] ??= {})[line.dataset.scale] = value;
  if (ahead && active < rows().length - 1) active += 1;
  refresh();
  if (complete() && ahead) $("next").focus({ preventScroll: true }); else focusRow();
}
function move(step) {
  active = Math.max(0, Math.min(rows().length - 1, active + step));
  refresh();
  focusRow();
}
function nudge(step) {
  const line = rows()[active], value = draft[line?.dataset.candidate]?.[line.dataset.scale];
  if (line) set(Math.max(1, Math.min(5, (value || 3) + (value ? step : 0))), false);
}
function choose(value) {
  draft = { choice: value };
  submit();
}
function missing() {
  if (choice) return;
  const line = rows().find(one => !draft[one.dataset.candidate]?.[one.dataset.scale]);
  active = rows().indexOf(line);
  refresh();
  line.classList.add("missing");
  status(`still open: ${line.dataset.scale}`);
  focusRow();
}
function finished() {
  page("done");
  $("done-text").textContent = data.post
    ? `You rated all ${items.length} screens${waiting.length ? "; the last are being saved …" : ", and they are saved. You can close this page."}`
    : `You rated all ${items.length} screens. Save the file, and send it to whoever asked you: nothing has been sent from this page.`;
  $("save").hidden = Boolean(data.post) && !stopped;
  $("save").focus();
}

// === The file with the ratings ===

function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value && typeof value === "object") return `{${Object.keys(value).sort().map(key => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
  return JSON.stringify(value);
}
function save() {
  const content = { format: data.format, session: data.session, items: data.digest, rater, answers: [...answers.values()] };
  content.digest = sha256(canonical(content));
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(content, null, 1)], { type: "application/json" }));
  link.download = `ratings-${rater.normalize("NFKD").replace(/[^A-Za-z0-9]+/g, "-") || "rater"}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  unsaved = false;
}
// FIPS 180-4; the browser's own is there for secure addresses only, and a page on a local network has none.
function sha256(text) {
  const bytes = [...new TextEncoder().encode(text)], length = bytes.length, primes = [], fraction = x => (x - Math.floor(x)) * 2 ** 32 | 0;
  for (let n = 2; primes.length < 64; n++) if (primes.every(p => n % p)) primes.push(n);
  const k = primes.map(p => fraction(Math.cbrt(p))), h = primes.slice(0, 8).map(p => fraction(Math.sqrt(p)));
  bytes.push(128);
  while (bytes.length % 64 !== 56) bytes.push(0);
  for (let i = 7; i >= 0; i--) bytes.push(Math.floor(length * 8 / 2 ** (8 * i)) & 255);
  const turn = (x, n) => x >>> n | x << 32 - n;
  for (let start = 0; start < bytes.length; start += 64) {
    const w = [];
    for (let i = 0; i < 64; i++) {
      if (i < 16) { const j = start + 4 * i; w[i] = bytes[j] << 24 | bytes[j + 1] << 16 | bytes[j + 2] << 8 | bytes[j + 3]; continue; }
      const a = w[i - 15], b = w[i - 2];
      w[i] = w[i - 16] + (turn(a, 7) ^ turn(a, 18) ^ a >>> 3) + w[i - 7] + (turn(b, 17) ^ turn(b, 19) ^ b >>> 10) | 0;
    }
    let [a, b, c, d, e, f, g, z] = h;
    for (let i = 0; i < 64; i++) {
      const one = z + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + (e & f ^ ~e & g) + k[i] + w[i] | 0;
      const two = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + (a & b ^ a & c ^ b & c) | 0;
      [z, g, f, e, d, c, b, a] = [g, f, e, d + one | 0, c, b, a, one + two | 0];
    }
    [a, b, c, d, e, f, g, z].forEach((value, i) => { h[i] = h[i] + value | 0; });
  }
  return h.map(value => (value >>> 0).toString(16).padStart(8, "0")).join("");
}

// === Start, keys, buttons ===

async function start(name) {
  rater = name.trim().replace(/\s+/g, " ");
  if (!rater) return;
  if (/[\p{C}]/u.test(rater)) { $("name-problem").textContent = "This name has a character that cannot be shown; type it anew."; return; }
  answers = new Map();
  const own = kept();
  if (data.post) {
    waiting = Array.isArray(own.waiting) ? own.waiting.filter(event => byId.has(event?.item)) : [];
    try {
      for (const event of (await fetched()).answers) if (byId.has(event.item)) answers.set(event.item, event);
    } catch (error) {
      $("name-problem").textContent = error instanceof TypeError ? "The server does not answer. Is `tfxfer rate` still running?" : error.message;
      return;
    }
    for (const event of waiting) { answers.delete(event.item); if (!event.undo) answers.set(event.item, event); }
    send();
  } else for (const event of own.answers || []) if (byId.has(event?.item)) answers.set(event.item, event);
  try { sessionStorage.setItem(`tfxfer-rater-${data.session}`, rater); } catch { /* then the name is asked again after a reload */ }
  $("who").textContent = rater;
  status(answers.size ? `welcome back: ${count(answers.size, "screen")} rated` : "");
  show(nextOpen());
}

document.addEventListener("keydown", event => {
  if ($("work").hidden || $("dialog").open || event.ctrlKey || event.metaKey || event.altKey || !at) return;
  const key = event.key, number = Number(key);
  const act = {
    Enter: choice ? null : submit, u: undo, U: undo, Backspace: undo, s: skip, S: skip, "?": help,
    ArrowDown: choice ? null : () => move(1), ArrowUp: choice ? null : () => move(-1),
    ArrowLeft: choice ? () => choose(shownOf(at)[0]) : () => nudge(-1),
    ArrowRight: choice ? () => choose(shownOf(at)[1]) : () => nudge(1),
    t: choice ? () => choose("tie") : null, 0: choice ? () => choose("tie") : null,
  }[key] || (/^[1-9]$/.test(key) && (choice ? shownOf(at)[number - 1] && (() => choose(shownOf(at)[number - 1])) : number <= 5 && (() => set(number))));
  if (!act || event.repeat) return;
  if (key === "Enter" && ["undo", "skip", "help"].includes(document.activeElement?.id)) return;
  event.preventDefault();
  act();
});
function help() { $("dialog").showModal(); }
function another() {
  try { sessionStorage.removeItem(`tfxfer-rater-${data.session}`); } catch { /* no name is kept */ }
  location.reload();
}
for (const [id, work] of [["undo", undo], ["back", undo], ["skip", skip], ["next", submit], ["help", help], ["save", save], ["save-now", save], ["other", another], ["other-now", another], ["close", () => $("dialog").close()]])
  $(id).addEventListener("click", work);
$("image").addEventListener("load", () => $("image").classList.toggle("small", $("image").naturalWidth <= 128));
$("name-form").addEventListener("submit", event => { event.preventDefault(); start($("name").value); });
window.addEventListener("online", send);
window.addEventListener("beforeunload", event => { if (!memory && (waiting.length || (!data.post && unsaved))) event.preventDefault(); });

const pairs = (choice
  ? [["1 or ←", "the first is better"], ["2 or →", "the second is better"], ["0 or T", "about equally good"]]
  : [["1 … 5", "rate the marked line, and go to the next"], ["↑ ↓ ← →", "go to another line, or change its number"], ["Enter", "next screen"]]
).concat([["U", "undo: back to the last screen"], ["S", "later: this screen comes again at the end"], ["?", "this help"]]);
for (const id of ["keys", "keys-start"]) for (const [key, what] of pairs) {
  const term = make("dt");
  term.append(make("kbd", "", key));
  $(id).append(term, make("dd", "", what));
}
const context = items.some(item => item.question) ? "an image and a question" : items.some(item => item.image) ? "an image" : "a text";
$("heading").textContent = `Rate ${data.what}`;
$("task").textContent = choice
  ? `You see ${context}, and two ${data.what} that were made by different systems. Say which is better. There are ${items.length} screens.`
  : `You see ${context}, and ${data.what} that were made by different systems. Rate each from 1 to 5. There are ${items.length} screens.`;
const guide = [
  ...(choice ? ["Better means: true of what you see first, then more complete, then better worded. If you cannot decide, say so."]
    : scales.map(scale => `${capital(scale.name)}: ${scale.question} 1 is “${scale.low}”, 5 is “${scale.high}”.`)),
  "You are not told which system made what, and the order changes from screen to screen.",
  "A few screens have a known answer. They show whether the questions are clear.",
  data.post ? "Every rating is saved at once. Stop whenever you like." : "Your ratings stay in this browser until you save a file at the end. Nothing is sent.",
];
for (const id of ["guide", "guide-again"]) for (const text of guide) $(id).append(make("li", "", text));
$("prompt").textContent = choice ? "Which is better?" : scales.length > 1 ? "Rate each text from 1 to 5." : `${scales[0].question} Rate from 1 to 5.`;
page("start");
let before = "";
try { before = sessionStorage.getItem(`tfxfer-rater-${data.session}`) || ""; } catch { /* the name is asked */ }
$("name").value = before;
if (before) start(before); else $("name").focus();
})();
