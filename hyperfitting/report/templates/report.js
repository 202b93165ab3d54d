"use strict";
// Texts enter the page as text nodes only: whatever a model wrote stays text.
const data = JSON.parse(document.getElementById("data").textContent);
const get = (id) => document.getElementById(id);
const names = data.conditions.map((condition) => condition.name);
const sources = [...new Set(data.contexts.map((context) => context.source))];
let place = 0;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function fill(select, values, chosen) {
  for (const [value, text] of values) {
    const option = element("option", "", text);
    option.value = value;
    select.append(option);
  }
  select.value = chosen;
}

function visible() {
  const source = get("source").value;
  return data.contexts.map((_, index) => index).filter((i) => source === "" || data.contexts[i].source === source);
}

function picture(address, name) {
  const made = element("img", "large");
  made.src = address;
  made.alt = name;
  return made;
}

function zoom(factor) {
  const root = document.documentElement.style;
  const now = Number(root.getPropertyValue("--zoom") || 1);
  root.setProperty("--zoom", Math.max(0.5, Math.min(4, now * factor)));
}

function article(condition, index) {
  const text = condition.texts[index];
  const made = element("article");
  made.append(element("h3", "", condition.name));
  if (text.picture) {
    made.append(picture(text.picture, data.contexts[index].id + ", " + condition.name));
    return made;
  }
  if (!text.words.length) {
    made.append(element("p", "note", "(empty)"));
    return made;
  }
  const quoted = new Set(text.quote ? text.quote.words : []);
  const body = element("p", "text");
  text.words.forEach((word, i) => {
    body.append(element("span", "s" + text.shades[i] + (quoted.has(i) ? " quote" : ""), word));
  });
  made.append(body);
  if (text.cut) made.append(element("p", "note", text.cut));
  if (text.quote) {
    const source = element("p", "source", text.quote.tokens + " tokens of " + text.quote.source + ": ");
    source.append(element("q", "", text.quote.text.trim()));
    made.append(source);
  }
  return made;
}

function show() {
  const indices = visible();
  place = Math.max(0, Math.min(place, indices.length - 1));
  const index = indices[place];
  const context = data.contexts[index];
  get("place").textContent = place + 1 + " of " + indices.length;
  get("previous").disabled = place === 0;
  get("next").disabled = place === indices.length - 1;
  get("context").replaceChildren(element("strong", "", context.id + ": "), context.context || (context.picture ? "" : "(no context)"));
  if (context.picture) get("context").append(picture(context.picture, context.id + ", given part"));
  if (context.cut) get("context").append(element("p", "note", context.cut));
  const sides = [get("left").value, get("right").value].map(Number);
  get("pair").replaceChildren(...[...new Set(sides)].map((side) => article(data.conditions[side], index)));
}

function turn(step) {
  place += step;
  show();
}

fill(get("source"), [["", "all"], ...sources.map((source) => [source, source])], "");
const numbered = names.map((name, index) => [String(index), name]);
fill(get("left"), numbered, "0");
fill(get("right"), numbered, String(data.right));
get("source").addEventListener("change", () => { place = 0; show(); });
for (const id of ["left", "right"]) get(id).addEventListener("change", show);
get("previous").addEventListener("click", () => turn(-1));
get("next").addEventListener("click", () => turn(1));
document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("select, .scroll")) return;
  if (event.key === "ArrowLeft") turn(-1);
  if (event.key === "ArrowRight") turn(1);
  if (event.key === "+") zoom(1.25);
  if (event.key === "-") zoom(0.8);
});
get("controls").addEventListener("submit", (event) => event.preventDefault());
show();
