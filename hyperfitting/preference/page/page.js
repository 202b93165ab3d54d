"use strict";

const find = (id) => document.getElementById(id);
const settings = JSON.parse(find("settings").textContent);
const choices = settings.answers;
const store = makeStore(settings, say);
let shown = null; // { assignment or practice, answered } of what is on the page
let practised = 0;

function say(text) {
  find("status").textContent = text;
}

function show(section) {
  for (const one of ["task", "pause", "end"]) find(one).hidden = one !== section;
  const heading = section && find(section).querySelector("h1");
  window.scrollTo(0, 0);
  if (heading) heading.focus({ preventScroll: true }); // a screen reader goes on from here
}

// ------------------------------------------------------------------------------------------------- time with focus
const watch = { seconds: 0, since: null };
const looking = () => document.visibilityState === "visible" && document.hasFocus();

function tick() {
  const now = performance.now() / 1000;
  if (watch.since !== null) watch.seconds += now - watch.since;
  watch.since = looking() ? now : null;
}
for (const event of ["focus", "blur"]) window.addEventListener(event, tick);
document.addEventListener("visibilitychange", tick);

// ------------------------------------------------------------------------------------------------- one pair
function drawChoices() {
  choices.forEach((one, index) => {
    const label = document.createElement("label"), radio = document.createElement("input");
    Object.assign(radio, { type: "radio", name: "choice", value: index });
    const key = document.createElement("kbd");
    key.textContent = index + 1;
    key.setAttribute("aria-hidden", "true");
    label.append(radio, key, document.createTextNode(` ${one.label}`));
    find("choices").append(label);
  });
  find("choices").classList.toggle("five", choices.length === 5);
  find("keys").textContent = WORDS.keys(choices.length);
  find("comment").maxLength = settings.comment_length;
}

function chosen() {
  const radio = document.querySelector("#choices input:checked");
  return radio && choices[radio.value];
}

function fill(pair, place, done, total) {
  find("answer").reset();
  lock(false);
  find("feedback").hidden = true;
  find("remark").hidden = !settings.comments || !pair.assignment;
  find("remark").open = false;
  for (const part of ["context", "a", "b"]) find(part).textContent = pair[part];
  find("place").textContent = place;
  Object.assign(find("progress"), { max: total, value: done });
  show("task");
  tick();
  watch.seconds = 0;
}

function lock(busy) {
  for (const one of document.querySelectorAll("#answer input, #answer textarea")) one.disabled = busy;
  find("next").disabled = busy && !shown.practice;
}

// ------------------------------------------------------------------------------------------------- what comes next
function proceed(state) {
  find("about").hidden = false;
  find("consent").hidden = state.consented;
  document.querySelector("#about details").open = !state.consented;
  if (!state.consented) return show(null);
  if (!state.item) return finish(state);
  if (state.done === 0 && practised < settings.practice.length) {
    shown = { practice: settings.practice[practised], state };
    practised += 1;
    return fill(shown.practice, WORDS.practice(practised, settings.practice.length), practised - 1, settings.practice.length);
  }
  shown = { assignment: state.item.assignment };
  fill(state.item, WORDS.pair(state.done + 1, state.total), state.done, state.total);
}

function finish(state) {
  find("end-name").textContent = WORDS.thanks;
  find("end-text").textContent = (store.end || WORDS.finished)(state.total);
  find("code").hidden = !state.code;
  find("code").textContent = state.code ? WORDS.code(state.code) : "";
  const link = find("link").firstElementChild;
  find("link").hidden = !(state.code && store.panel);
  link.textContent = WORDS.backToPanel;
  link.href = `https://app.prolific.com/submissions/complete?cc=${encodeURIComponent(state.code || "")}`;
  show("end");
}

function giveFeedback() {
  const { practice, state } = shown, right = chosen().choice === practice.answer;
  const last = practised === settings.practice.length;
  const parts = [right ? WORDS.right : WORDS.other[practice.answer], practice.why, last ? ` ${WORDS.practiceOver}` : ""];
  find("feedback").textContent = parts.join("");
  find("feedback").hidden = false;
  lock(true);
  shown.answered = () => proceed(state);
  find("next").focus();
}

async function vote() {
  tick();
  const { choice, strength } = chosen(), seconds = Math.round(10 * watch.seconds) / 10;
  const ballot = { assignment: shown.assignment, choice, strength, comment: find("comment").value, seconds };
  lock(true);
  const state = await store.vote(ballot);
  if (!state.stored) say(WORDS.already);
  if (settings.break_every && state.item && state.done % settings.break_every === 0) {
    find("pause-text").textContent = WORDS.pause(state.done, state.total);
    find("continue").onclick = () => proceed(state);
    return show("pause");
  }
  proceed(state);
}

function stop(error) {
  say(error.message);
  for (const one of ["task", "pause", "about"]) find(one).hidden = true;
}

// ------------------------------------------------------------------------------------------------- what a person does
find("answer").addEventListener("submit", (event) => {
  event.preventDefault();
  if (find("next").disabled) return;
  if (shown.answered) return shown.answered();
  if (!chosen()) return say(WORDS.choose);
  say("");
  if (shown.practice) giveFeedback();
  else vote().catch(stop);
});

find("consent").addEventListener("submit", (event) => {
  event.preventDefault();
  find("start").disabled = true;
  store.consent().then(proceed).catch(stop).finally(() => { find("start").disabled = false; });
});

document.addEventListener("keydown", (event) => {
  const own = event.target.closest("textarea, button, a, summary, [type=checkbox]"); // which have keys of their own
  if (find("task").hidden || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const radio = document.querySelectorAll("#choices input")[Number(event.key) - 1];
  if (radio && !radio.disabled && !event.target.closest("textarea")) {
    radio.checked = true;
    radio.focus({ preventScroll: true });
  } else if (event.key === "Enter" && !own) {
    event.preventDefault();
    find("answer").requestSubmit();
  }
});

drawChoices();
store.open().then(proceed).catch(stop);
