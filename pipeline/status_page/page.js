"use strict";
// Shows what /status says, and posts what an operator does. All text comes in as text, never as HTML.

const EVERY = 2000; // milliseconds between looks at the status
const LETTERS_EVERY = 10000;
const acts = document.body.dataset.acts.split(" ");
const token = document.querySelector("meta[name=token]").content;
const at = (id) => document.getElementById(id);
const counted = (number) => number.toLocaleString("en");

function about(seconds) {
  for (const [unit, length, most] of [["s", 1, 90], ["min", 60, 90], ["h", 3600, 48]])
    if (seconds < most * length) return `${Math.round(seconds / length)} ${unit}`;
  return `${Math.round(seconds / 86400)} d`;
}

function when(time) {
  return time.replace("T", " ").replace(/\.\d+/, "");
}

function make(kind, text = "", name = "") {
  const element = document.createElement(kind);
  if (text) element.textContent = text;
  if (name) element.className = name;
  return element;
}

function put(element, text, name) {
  // What has not changed is not touched: focus stays, and nothing is read aloud again.
  if (element.textContent !== text) element.textContent = text;
  if (name !== undefined && element.className !== name) element.className = name;
}

function say(words, bad = false) {
  put(at("said"), words, bad ? "bad" : "");
}

async function post(act, given) {
  const reply = await fetch(act, {
    method: "POST", headers: {"Content-Type": "application/json", "X-Page-Token": token}, body: JSON.stringify(given),
  });
  const body = await reply.json();
  if (!reply.ok) throw new Error(body.trouble || `the service answers ${reply.status}`);
  return body;
}

async function acting(button, act, given) {
  button.disabled = true;
  try {
    const body = await post(act, given);
    if (body.said) say(body.said);
    return body;
  } catch (error) {
    say(error instanceof TypeError ? "The service does not answer." : error.message, true);
    return null;
  } finally {
    button.disabled = false;
    button.focus();
  }
}

// -- tables: a row for each key, in order

function row(table, key) {
  const body = table.tBodies[0];
  const found = [...body.rows].find((each) => each.dataset.key === key);
  if (found) return found;
  const made = body.insertRow();
  made.dataset.key = key;
  made.setAttribute("role", "row");
  for (const head of table.tHead.rows[0].cells) {
    const cell = made.insertCell();
    cell.setAttribute("role", "cell");
    cell.dataset.head = head.textContent;
    cell.className = head.className;
  }
  return made;
}

function onlyRows(table, keys) {
  for (const each of [...table.tBodies[0].rows]) if (!keys.includes(each.dataset.key)) each.remove();
}

function button(cell, words, label, pressed) {
  const found = cell.querySelector("button") || cell.appendChild(make("button"));
  found.type = "button";
  put(found, words);
  if (found.getAttribute("aria-label") !== label) found.setAttribute("aria-label", label);
  found.onclick = () => pressed(found);
}

// -- connections

function standing(each) {
  const blocked = Object.entries(each.blocked).map(([key, why]) => `${key} is blocked: ${why}`);
  if (each.paused) return [`paused since ${when(each.paused)}`, "wait"];
  if (each.stopped) return [`stopped: ${each.stopped}`, "bad"];
  if (blocked.length) return [blocked.join("; "), "bad"];
  if (each.elsewhere) return ["another process delivers it", "wait"];
  if (each.trouble) return [each.trouble, "bad"];
  if (each.silent) return [each.silent, "bad"];
  if (each.scheduled && each.scheduled === each.waiting)
    return [`${counted(each.scheduled)} scheduled, the first for ${when(each.scheduled_until)}`, "wait"];
  if (each.waiting && each.slow) return [each.slow, "wait"];
  return [each.waiting ? "delivering" : "all is told", "good"];
}

function showConnection(name, each) {
  const cells = row(at("connections"), name).cells;
  const age = each.oldest_waiting ? Math.max(0, (Date.now() - Date.parse(each.oldest_waiting)) / 1000) : 0;
  const [words, kind] = standing(each);
  const texts = [
    name, words, each.requests_per_second.toFixed(1), each.cap || "-", counted(each.waiting),
    each.seconds_left ? about(each.seconds_left) : "-", each.oldest_waiting ? `${about(age)} old` : "-",
    counted(each.delivered),
  ];
  texts.forEach((text, place) => put(cells[place], text));
  put(cells[1], words, kind);
  if (!acts.includes("pause")) return;
  const act = each.paused ? "resume" : "pause";
  button(cells[8], each.paused ? "Resume" : "Pause", `${each.paused ? "Resume" : "Pause"} ${name}`, async (pressed) => {
    if (await acting(pressed, act, {connection: name})) await look();
  });
}

function showTroubles(status) {
  const words = [
    status.trouble, status.workspace_refused && `The workspace file is not taken over: ${status.workspace_refused}`,
    ...(status.unreadable || []),
  ].filter(Boolean);
  const list = at("troubles");
  if (list.dataset.words === words.join("\n")) return;
  list.dataset.words = words.join("\n");
  list.replaceChildren(...words.map((each) => make("li", each)));
  list.hidden = !words.length;
}

function showSources(sources) {
  const names = Object.keys(sources);
  for (const name of names) {
    const each = sources[name];
    const [words, kind] = each.trouble ? [each.trouble, "bad"] : each.reading ? ["is read", "wait"]
      : each.read_at ? ["all is told", "good"] : ["not read yet", "wait"];
    const cells = row(at("sources"), name).cells;
    [name, words, each.read_at ? when(each.read_at) : "-", counted(each.changed_rows)].forEach((text, place) =>
      put(cells[place], text));
    put(cells[1], words, kind);
  }
  onlyRows(at("sources"), names);
  at("tables").hidden = !names.length;
}

const known = new Map(); // how each connection stood: only what changed is said aloud

function sayChanges(connections) {
  for (const [name, each] of Object.entries(connections)) {
    const kind = standing(each)[1] === "bad" ? "in trouble" : "well";
    if (known.has(name) && known.get(name) !== kind)
      say(kind === "well" ? `${name} goes on.` : `${name} is in trouble: ${standing(each)[0]}`, kind !== "well");
    known.set(name, kind);
  }
}

function show(status) {
  if (status.workspace) put(at("workspace"), status.workspace);
  const times = [
    status.since && `served since ${when(status.since)}`, status.folded_at && `last change ${when(status.folded_at)}`,
    status.version && `version ${status.version} of the workspace`,
  ];
  put(at("times"), times.filter(Boolean).join(", "));
  showTroubles(status);
  const names = Object.keys(status.connections);
  for (const name of names) showConnection(name, status.connections[name]);
  onlyRows(at("connections"), names);
  showSources(status.sources || {});
  sayChanges(status.connections);
}

let silent = false;

async function look() {
  try {
    const reply = await fetch("status");
    const status = await reply.json();
    if (reply.ok) show(status);
    else showTroubles(status);
    if (silent) say("The service answers again.");
    silent = false;
  } catch {
    if (!silent) say(`The service does not answer since ${when(new Date().toISOString())}; what stands here is of then.`, true);
    silent = true;
  }
}

// -- dead letters

function showLetters(rows) {
  const table = at("letters");
  for (const each of rows) {
    const cells = row(table, `${each.connection} ${each.reason}`).cells;
    const texts = [each.connection || "(records)", each.reason, counted(each.number), each.words, each.advice];
    texts.forEach((text, place) => put(cells[place], text));
    const label = `Replay ${each.reason} of ${each.connection || "records"}`;
    button(cells[5], "Replay…", label, (pressed) => confirmReplay(pressed, each));
  }
  onlyRows(table, rows.map((each) => `${each.connection} ${each.reason}`));
  table.hidden = !rows.length;
  at("no-letters").hidden = rows.length > 0;
}

async function lookForLetters() {
  if (!acts.includes("dead-letters")) return;
  try {
    showLetters((await post("dead-letters", {})).rows);
  } catch (error) {
    if (!(error instanceof TypeError)) say(error.message, true); // that it does not answer, the status says
  }
}

async function confirmReplay(pressed, each) {
  const given = {connection: each.connection, reason: each.reason};
  const would = await acting(pressed, "would-replay", given);
  if (!would) return;
  say("");
  put(at("confirm-title"), `Replay ${each.reason} of ${each.connection || "records"}?`);
  put(at("confirm-words"), would.said);
  at("confirm-yes").disabled = !would.any;
  at("confirm-yes").onclick = async () => {
    at("confirm").close();
    if (await acting(pressed, "replay", given)) await lookForLetters();
  };
  at("confirm").showModal();
}

// -- one person

function told(connection) {
  const found = [make("h4", connection.name)];
  for (const sync of connection.syncs) {
    if (sync.title) found.push(make("p", sync.title, "soft"));
    const list = make("ul");
    list.append(...sync.lines.map((line) => make("li", line)));
    found.push(list);
  }
  return found;
}

function calls(person) {
  if (!person.calls.length) return [];
  const table = make("table");
  table.setAttribute("role", "table");
  table.setAttribute("aria-label", "Calls, the newest first");
  const heads = table.createTHead().insertRow();
  for (const head of person.heads) heads.append(Object.assign(make("th", head), {scope: "col"}));
  for (const each of [heads.parentNode, table.createTBody()]) each.setAttribute("role", "rowgroup");
  heads.setAttribute("role", "row");
  for (const head of heads.cells) head.setAttribute("role", "columnheader");
  person.calls.forEach((call, place) => {
    const cells = row(table, String(place)).cells;
    person.heads.forEach((head, i) => put(cells[i], call[head]));
  });
  return [make("h4", "Calls, the newest first"), table];
}

function showPeople(found) {
  const parts = [];
  if (found.number > 1 || found.people[0].id !== found.asked)
    parts.push(make("p", `${found.asked}: ${counted(found.number)} known by that`));
  for (const person of found.people) {
    const facts = make("ul");
    facts.append(...person.known.map((line) => make("li", line)));
    parts.push(make("h3", person.id), facts, ...person.connections.flatMap(told), ...calls(person));
  }
  at("person-found").replaceChildren(...parts);
  at("person-found").hidden = false;
  at("person-found").focus();
}

function searching() {
  if (!acts.includes("why")) return;
  at("why").addEventListener("submit", async (event) => {
    event.preventDefault();
    at("person-found").hidden = true;
    const found = await acting(event.submitter || at("why").querySelector("button"), "why", {person: at("person").value});
    if (found) {
      say("");
      showPeople(found);
    }
  });
}

// -- all the time

async function keepLooking(each, milliseconds) {
  if (!document.hidden) await each();
  setTimeout(() => keepLooking(each, milliseconds), milliseconds);
}

if (acts.includes("replay")) at("confirm-no").addEventListener("click", () => at("confirm").close());
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
searching();
keepLooking(look, EVERY);
keepLooking(lookForLetters, LETTERS_EVERY);
