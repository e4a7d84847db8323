/** Shows whether the page is live, stale or cut off. */

const STALE_AFTER_MS = 13000; // The server says something every 10 s at least.
const TICK_MS = 1000;

export class Freshness {
  #element;
  #text;
  #clockSkew;
  #asOf;
  #state = "connecting";

  /** `renderedAt` is the server's clock, so that a wrong one on this side does not make figures look old. */
  constructor(element, { asOf, renderedAt }) {
    this.#element = element;
    this.#text = element.querySelector("[data-connection-text]");
    this.#clockSkew = Date.now() - renderedAt;
    this.#asOf = asOf;
    setInterval(() => this.#show(), TICK_MS);
    this.#show();
  }

  opened() {
    this.#state = "live";
    this.#show();
  }

  lost() {
    this.#state = "disconnected";
    this.#show();
  }

  /**
   * @param {number} asOf when the figures were counted, ms since the epoch; 0 where there are none
   * @param {number} renderedAt the server's clock now, which may have been set
   */
  counted(asOf, renderedAt) {
    this.#clockSkew = Date.now() - renderedAt;
    this.#asOf = asOf || this.#asOf;
    this.#show();
  }

  #show() {
    const age = Math.max(0, Date.now() - this.#clockSkew - this.#asOf);
    const ago = this.#asOf ? `last update ${inWords(age)} ago` : "no figures yet";
    const stale = this.#state === "live" && (!this.#asOf || age > STALE_AFTER_MS);
    const state = stale ? "stale" : this.#state;
    const text = {
      connecting: "Connecting …",
      live: "Live",
      stale: `Stale: ${ago}`,
      disconnected: `Disconnected: ${ago}`,
    }[state];
    // Only what changed is written: a screen reader or a selection is not disturbed every second.
    if (this.#element.dataset.connection !== state) this.#element.dataset.connection = state;
    if (this.#text.textContent !== text) this.#text.textContent = text;
  }
}

function inWords(milliseconds) {
  const seconds = Math.round(milliseconds / 1000);
  if (seconds < 100) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}
