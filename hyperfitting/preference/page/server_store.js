"use strict";

// Votes go to the server that this page came from. The secret stands behind the # of the address, which browsers do not send.
// A request that fails is made again with the same content until there is an answer: the server counts a vote once.
function makeStore(settings, say) {
  const LONGEST = 20, wait = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
  const secret = () => location.hash.slice(1);
  const panel = new URLSearchParams(location.search).get("PROLIFIC_PID");
  window.addEventListener("hashchange", () => location.reload());

  async function once(path, body) {
    const headers = { "Content-Type": "application/json" };
    if (secret()) headers.Authorization = `Bearer ${secret()}`;
    const signal = AbortSignal.timeout(1000 * LONGEST);
    const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), signal, redirect: "error" });
    return { status: answer.status, pause: Number(answer.headers.get("Retry-After")), content: await answer.json() };
  }

  async function ask(path, body) {
    for (let pause = 1; ; pause = Math.min(2 * pause, 15)) {
      let answer = null;
      try {
        answer = await once(path, body);
      } catch {
        say(WORDS.noConnection);
      }
      if (answer && answer.status === 200) {
        say("");
        return answer.content;
      }
      if (answer && answer.status < 500 && answer.status !== 429)
        throw new Error(answer.status === 401 ? WORDS.notYours : answer.content.message);
      if (answer) say(answer.content.message || WORDS.cannotSave);
      await wait((answer && answer.pause) || pause);
    }
  }

  return {
    async open() {
      if (!secret() && settings.register) return { consented: false };
      if (!secret()) throw new Error(WORDS.noLink);
      if (!/^[\w-]{32}$/.test(secret())) throw new Error(WORDS.notYours);
      return ask("api/open", {});
    },
    async consent() {
      if (!secret()) {
        const place = await ask("api/register", { panel });
        history.replaceState(null, "", `#${place.secret}`); // from here on the address is this person's link
      }
      return ask("api/consent", {});
    },
    vote: (ballot) => ask("api/vote", ballot),
    panel,
  };
}
