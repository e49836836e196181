// What every script finds: the clock of its step and its random numbers, so that a repeat of the step sees the same,
// and a console whose lines come back with the answer. Nothing here reaches outside: there is nothing to reach.
(function (now, seed, say) {
  "use strict";
  const RealDate = Date;
  globalThis.Date = class Date extends RealDate {
    constructor(...parts) {
      if (parts.length === 0) super(now);
      else super(...parts);
    }
    static now() {
      return now;
    }
  };
  // xorshift32 (Marsaglia, 2003): not for secrets.
  let state = seed || 1;
  Math.random = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 4294967296;
  };
  const shown = (part) => {
    if (typeof part === "string") return part;
    try {
      return JSON.stringify(part) ?? String(part);
    } catch {
      return String(part);
    }
  };
  const line = (...parts) => say(parts.map(shown).join(" "));
  globalThis.console = Object.freeze({ log: line, info: line, warn: line, error: line, debug: line });
});
