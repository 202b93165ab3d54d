"use strict";

const WORDS = {
  pair: (number, total) => `Pair ${number} of ${total}`,
  practice: (number, total) => `Practice ${number} of ${total}`,
  keys: (count) => `Keys: 1 to ${count}, then Enter`,
  choose: "Please choose one of the answers first.",
  right: "Most people agree. ",
  other: { A: "Most people choose A here. ", B: "Most people choose B here. ", tie: "Most people find these equally good. " },
  practiceOver: "That was the practice. From here on your answers count.",
  pause: (done, total) => `You have answered ${done} of ${total} pairs. Look away for a minute, and go on when you like.
    You can also close the page and come back later.`,
  thanks: "Thank you",
  finished: (total) => `You have answered all ${total} pairs. You may close this page.`,
  code: (code) => `Your completion code: ${code}`,
  backToPanel: "Back to Prolific, with this code",
  already: "This pair had been answered before, perhaps on another device: that answer stays.",
  noLink: "This page needs your personal link: open the whole address that you were given.",
  notYours: "This link is not known here: open the whole address that you were given.",
  cannotSave: "Your answer is not saved yet; keep this page open. It is tried again in a moment.",
  noConnection: "No connection. Your answer is kept here and sent again in a moment; keep this page open.",
  fileEnd: (total) => `You have answered all ${total} pairs. Save your answers as a file, and send it back to where you have
    this page from.`,
  notKept: "This browser keeps nothing of a file's page: do not close it before you have saved your answers as a file.",
};
