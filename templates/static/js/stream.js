/** A stream of server-sent events that comes back after every loss. */

const RETRY_FIRST_MS = 1000;
const RETRY_MAX_MS = 15000;

/**
 * @param {string} url
 * @param {{update: (value: object) => void, opened: () => void, lost: () => void}} on
 */
export function follow(url, on) {
  let tries = 0;

  function connect() {
    const source = new EventSource(url);
    source.addEventListener("open", () => {
      tries = 0;
      on.opened();
    });
    source.addEventListener("update", (event) => on.update(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      // Reconnecting is ours: a browser gives up for good after a status other than 200.
      source.close();
      on.lost();
      const wait = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** tries++);
      setTimeout(connect, wait * (0.5 + Math.random() / 2));
    });
  }

  connect();
}
