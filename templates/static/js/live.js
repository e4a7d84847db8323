/** Keeps the page current: takes updates from its stream, and shows how current it is. */

import { follow } from "./stream.js";
import { Freshness } from "./freshness.js";
import { patch } from "./regions.js";

const main = document.querySelector("main[data-stream]");
const freshness = new Freshness(document.querySelector("[data-connection]"), {
  asOf: Number(main.dataset.asOf),
  renderedAt: Number(main.dataset.renderedAt),
});

function take({ asOf, renderedAt, regions }) {
  for (const [name, html] of Object.entries(regions)) {
    const region = main.querySelector(`[data-region="${name}"]`);
    if (region) patch(region, html);
  }
  const title = main.querySelector("[data-title]");
  if (title) document.title = `${title.dataset.title} · Fanfinity`;
  freshness.counted(asOf, renderedAt);
}

follow(main.dataset.stream, {
  update: take,
  opened: () => freshness.opened(),
  lost: () => freshness.lost(),
});
