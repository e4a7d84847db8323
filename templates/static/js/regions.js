/** Puts new HTML into a region of the page, touching as little as possible. */

/**
 * Elements with `data-key` that did not change stay the very same nodes: focus, selection and scrolling survive.
 * Those that are new get the class `is-new`.
 *
 * @param {Element} region
 * @param {string} html rendered and escaped by the server
 */
export function patch(region, html) {
  const next = region.cloneNode(false);
  next.innerHTML = html;
  // What a page shows already is not shown, and not read out, once more.
  if (next.innerHTML.trim() === region.innerHTML.trim()) return;
  const focused = region.contains(document.activeElement) ? keyOf(document.activeElement) : null;
  const known = new Map([...region.querySelectorAll("[data-key]")].map((node) => [node.dataset.key, node]));
  for (const node of next.querySelectorAll("[data-key]")) {
    const before = known.get(node.dataset.key);
    if (before === undefined) {
      if (known.size > 0) node.classList.add("is-new");
    } else if (same(before, node)) {
      // A node that moves would run its animation again.
      settle(before);
      node.replaceWith(before);
    }
  }
  region.replaceChildren(...next.childNodes);
  if (focused !== null) focusKey(region, focused);
}

function same(before, after) {
  return settle(before.cloneNode(true)).isEqualNode(after);
}

function settle(node) {
  node.classList.remove("is-new");
  if (node.className === "") node.removeAttribute("class");
  return node;
}

function keyOf(element) {
  return element.closest("[data-key]")?.dataset.key ?? null;
}

function focusKey(region, key) {
  const node = [...region.querySelectorAll("[data-key]")].find((each) => each.dataset.key === key);
  const target = node?.querySelector("a");
  if (target && document.activeElement !== target) target.focus({ preventScroll: true });
}
