"use strict";

// Votes stay in this browser until they are saved as a file. `settings.items` are all pairs of one annotator.
function makeStore(settings, say) {
  const name = `votes of ${settings.ticket}`;
  let kept = { consented: null, votes: [] }, handedOver = true;
  try {
    kept = JSON.parse(localStorage.getItem(name)) || kept;
  } catch {
    say(WORDS.notKept);
  }

  function keep() {
    handedOver = false;
    try {
      localStorage.setItem(name, JSON.stringify(kept));
    } catch {
      say(WORDS.notKept);
    }
  }

  function state() {
    const voted = new Set(kept.votes.map((vote) => vote.assignment));
    const item = settings.items.find((one) => !voted.has(one.assignment)) || null;
    return { consented: kept.consented !== null, done: voted.size, total: settings.items.length, item, stored: true };
  }

  function save() {
    // A line for each vote, so that a message about one can name its line.
    const lines = kept.votes.map((vote) => JSON.stringify(vote)).join(",\n");
    const head = JSON.stringify({ ticket: settings.ticket, consented: kept.consented }).slice(0, -1);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([`${head}, "votes": [\n${lines}\n]}\n`], { type: "application/json" }));
    link.download = `${settings.file}.json`;
    link.click();
    URL.revokeObjectURL(link.href);
    handedOver = true;
  }

  const button = document.querySelector("#save button");
  button.addEventListener("click", save);
  button.parentElement.hidden = false;
  window.addEventListener("beforeunload", (event) => handedOver || event.preventDefault());
  return {
    open: async () => state(),
    async consent() {
      kept.consented = kept.consented || Date.now() / 1000;
      keep();
      return state();
    },
    async vote(ballot) {
      kept.votes.push(ballot);
      keep();
      return state();
    },
    end: WORDS.fileEnd,
    panel: null,
  };
}
